import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { parseWaitFor } from '../../core/guest/stages.js';
import { checkpoint } from '../../services/checkpoint/take.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, dryRunFlag, fileFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Checkpoint extends BaseCommand {
  static override summary = 'Freeze members that are ready, memory and disk together, for "reset --warm" to bring back.';
  static override description =
    `Each guest stands still for a moment while its memory is written into its own overlay, and runs on. An earlier checkpoint
of a member goes when the new one is whole. A cold reset, a rebase and a teardown give checkpoints up.`;
  static override examples = [
    { description: 'The whole fleet, once all can be logged in to', command: '<%= config.bin %> <%= command.id %> lab --wait agent,ssh' },
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
    { description: 'Back to it', command: '<%= config.bin %> reset lab --warm' },
    { description: 'Give them up, and their space', command: '<%= config.bin %> <%= command.id %> lab --drop' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    drop: Flags.boolean({ description: 'give the checkpoints up', exclusive: ['wait', 'timeout'] }),
    ...waitFlags(),
    ...concurrencyFlags,
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Checkpoint);
    const wait = flags.wait === undefined ? undefined : parseWaitFor(flags.wait);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          checkpoint(host, { ...share(work), fleet, members, wait, timeoutMs: flags.timeout, drop: flags.drop, dryRun: flags['dry-run'] }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }
}
