import { Args, Flags } from '@oclif/core';
import { exitCodeOfVerification, verifyStore } from '../../services/verify/verify.js';
import { BaseCommand } from '../base-command.js';
import { renderVerification } from '../render/verify.js';

export default class Verify extends BaseCommand {
  static override summary = 'Compare the store, libvirt and what was meant: say what is orphaned, missing, damaged or unfinished.';
  static override description =
    `Looks at every fleet, base image and snapshot of the store. --fix mends what costs nothing: it removes what killed runs left, and
takes away the right to write to a base image. It never removes a disk, a domain or a record; the hints say how to go on with those.
Exit 4 if something is amiss, 6 if that cannot be told of what another run is at work on.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'One fleet, with what killed runs left removed', command: '<%= config.bin %> <%= command.id %> lab --fix' },
    {
      description: 'Read the content of base images and of disks that are off, too',
      command: '<%= config.bin %> <%= command.id %> --deep',
    },
  ];
  static override args = { fleet: Args.string({ description: 'name of the fleet [default: all of the store]' }) };
  static override flags = {
    fix: Flags.boolean({ description: 'mend what can be mended without losing anything' }),
    deep: Flags.boolean({ description: 'also read base images whole, and check the disks of members that are off' }),
  };

  async run() {
    const { args, flags } = await this.parse(Verify);
    return this.onHost(flags, async (host, work) => {
      const result = await verifyStore(host, { ...work, fleet: args.fleet, fix: flags.fix, deep: flags.deep });
      this.log(renderVerification(result));
      this.exitWith(exitCodeOfVerification(result));
      return result;
    });
  }
}
