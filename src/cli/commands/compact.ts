import { Args, Flags } from '@oclif/core';
import { limits } from '../../core/limits.js';
import { compact, exitCodeOfCompact } from '../../services/fleet/compact.js';
import { findTargets } from '../../services/fleet/targets.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { renderCompact } from '../render/compact.js';

export default class Compact extends BaseCommand {
  static override summary = 'Shrink overlays: free trimmed blocks and blocks of zeros.';
  static override description = [
    'Works on members that are stopped and have no checkpoint.',
    'Each overlay is copied without unneeded blocks, compared with the copy, and replaced if the copy is smaller.',
    'Deleted files are freed only if the guest has trimmed them (fstrim) or overwritten them with zeros. Blocks that equal the base image are kept.',
    'Running members are skipped; if you name a running member, it fails (exit code 4). Each member needs free space for its copy.',
  ].join(' ');
  static override examples = [
    { description: 'All stopped members', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all that are stopped]' }),
  };
  static override flags = {
    ...fileFlag,
    concurrency: Flags.integer({ description: 'number of members to process at the same time [default: 2]', ...limits.concurrency }),
  };

  async run() {
    const { argv, flags } = await this.parse(Compact);
    return this.onHost(flags, async (host, work) => {
      const targets = await findTargets(host, argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) => compact(host, { ...share(work), fleet, members }),
        renderCompact,
        exitCodeOfCompact,
      );
    });
  }
}
