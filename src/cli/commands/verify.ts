import { Args, Flags } from '@oclif/core';
import { exitCodeOfVerification } from '../../services/verify/verify.js';
import { BaseCommand } from '../base-command.js';
import { renderVerification } from '../render/verify.js';

export default class Verify extends BaseCommand {
  static override summary = 'Check the store and libvirt for anything orphaned, missing, damaged or unfinished.';
  static override description = [
    'Checks every fleet, base image and snapshot in the store.',
    '--fix repairs only what can be repaired without data loss: it removes leftovers of killed runs and incomplete checkpoints, and corrects the permissions of base images and of files that other users can read.',
    'It never removes a disk, a domain or a record; the hints say what to do about those.',
    'The exit code is 4 if there are findings, and 6 if something could not be checked because another run has locked it.',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'One fleet, and remove the leftovers of killed runs', command: '<%= config.bin %> <%= command.id %> lab --fix' },
    {
      description: 'Also read the content of base images and of disks of stopped members',
      command: '<%= config.bin %> <%= command.id %> --deep',
    },
  ];
  static override args = { fleet: Args.string({ description: 'name of the fleet [default: all fleets in the store]' }) };
  static override flags = {
    fix: Flags.boolean({ description: 'repair what can be repaired without data loss' }),
    deep: Flags.boolean({ description: 'also read base images completely and check the disks of stopped members' }),
  };

  async run() {
    const { args, flags } = await this.parse(Verify);
    return this.onEngine(flags, async (engine, work) => {
      const result = await engine.verify({ ...work, fleet: args.fleet, fix: flags.fix, deep: flags.deep });
      this.log(renderVerification(result));
      this.exitWith(exitCodeOfVerification(result));
      return result;
    });
  }
}
