import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { parseWaitRequest } from '../../core/guest/stages.js';
import { checkpoint } from '../../services/checkpoint/take.js';
import { findTargets } from '../../services/fleet/targets.js';
import { BaseCommand } from '../base-command.js';
import { bootConcurrencyFlag, concurrencyFlags, dryRunFlag, fileFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Checkpoint extends BaseCommand {
  static override summary = 'Save the memory and disk state of running members, for "reset --warm" to restore.';
  static override description = [
    'Each guest is paused briefly while its memory is written into its own overlay, then continues.',
    'A new checkpoint replaces the previous one once it is complete.',
    'A cold reset, a rebase and a teardown delete checkpoints.',
  ].join(' ');
  static override examples = [
    {
      description: 'The whole fleet, once all members accept ssh logins',
      command: '<%= config.bin %> <%= command.id %> lab --wait agent,ssh',
    },
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
    { description: 'Restore it', command: '<%= config.bin %> reset lab --warm' },
    { description: 'Delete the checkpoints and free their space', command: '<%= config.bin %> <%= command.id %> lab --drop' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    drop: Flags.boolean({ description: 'delete the checkpoints', exclusive: ['wait', 'timeout'] }),
    ...waitFlags(),
    ...concurrencyFlags,
    'boot-concurrency': bootConcurrencyFlag('number of members to save at the same time [default: 8]'),
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Checkpoint);
    const wait = flags.wait === undefined ? undefined : parseWaitRequest(flags.wait);
    return this.onHost(flags, async (host, work) => {
      const targets = await findTargets(host, argv as string[], flags.file);
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
