import { Args, Flags } from '@oclif/core';
import { limits } from '../../core/limits.js';
import { compact, exitCodeOfCompact } from '../../services/fleet/compact.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { renderCompact } from '../render/compact.js';

export default class Compact extends BaseCommand {
  static override summary = 'Give back the space that overlays hold for nothing: trimmed blocks and zeros.';
  static override description =
    `For members that are off: each overlay is copied without what it need not hold, the copy is compared with it, and takes its
place if it is smaller. What a guest has written and still has stays, also where it is the same as in the base image. Members
that run are left out; one that was named and runs is a failure.`;
  static override examples = [
    { description: 'All that are off', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all that are off]' }),
  };
  static override flags = {
    ...fileFlag,
    concurrency: Flags.integer({ description: 'members worked on at the same time [default: 2]', ...limits.concurrency }),
  };

  async run() {
    const { argv, flags } = await this.parse(Compact);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) => compact(host, { ...share(work), fleet, members }),
        renderCompact,
        exitCodeOfCompact,
      );
    });
  }
}
