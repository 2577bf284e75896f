import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { assertWhole } from '../../core/fleet/selection/targets.js';
import { parseWaitRequest } from '../../core/guest/stages.js';
import { limits } from '../../core/limits.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, dryRunFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Rebase extends BaseCommand {
  static override summary = 'Move a fleet to another base image: canaries first, then the rest in batches.';
  static override description = [
    'Members are reset onto the new base image: everything that the guests have written is discarded, and checkpoints are deleted; names, UUIDs and MAC addresses stay the same.',
    'With --keep-drift, the overlays of stopped members are moved with their changes, and the guests see the same disk content as before.\n\nThe canaries are started and must become ready.',
    'If one fails, the other members are not touched, and the canaries stay on the new base image until you rebase again, to either image.',
  ].join(' ');
  static override examples = [
    {
      description: 'One canary that must accept ssh logins, then the rest',
      command: '<%= config.bin %> <%= command.id %> lab --base golden2 --wait ssh',
    },
    {
      description: 'Three canaries, then five at a time',
      command: '<%= config.bin %> <%= command.id %> lab --base golden2 --canary 3 --batch 5 --wait agent',
    },
    {
      description: 'Keep the changes in the guests',
      command: '<%= config.bin %> stop lab && <%= config.bin %> <%= command.id %> lab --base golden2 --keep-drift',
    },
    { description: 'Show what would be done', command: '<%= config.bin %> <%= command.id %> lab --base golden2 --dry-run' },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of one or more fleets' }) };
  static override flags = {
    base: Flags.string({
      char: 'b',
      description: 'new base image: a name in the store, or a file',
      helpValue: 'NAME|FILE',
      required: true,
    }),
    canary: Flags.integer({ description: 'number of members to move first; 0 for none', min: 0, max: limits.members.max, default: 1 }),
    batch: Flags.integer({ description: 'number of members in each later batch [default: 16]', ...limits.batch }),
    'keep-drift': Flags.boolean({ description: 'keep what the guests have written; members must be stopped and have no checkpoint' }),
    ...waitFlags(),
    ...concurrencyFlags,
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Rebase);
    const wait = flags.wait === undefined ? undefined : parseWaitRequest(flags.wait);
    return this.onEngine(flags, async (engine, work) => {
      const targets = await engine.findTargets(argv as string[]);
      assertWhole('rebase', targets);
      return this.eachFleet(
        targets,
        // Waiting for canaries is part of the work: the next fleet begins when this one is done.
        ({ fleet }) =>
          engine.rebase({
            ...work,
            fleet,
            base: flags.base,
            canary: flags.canary,
            batch: flags.batch,
            keepDrift: flags['keep-drift'],
            wait,
            timeoutMs: flags.timeout,
            dryRun: flags['dry-run'],
          }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }
}
