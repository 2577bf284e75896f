import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { assertWhole } from '../../core/fleet/targets.js';
import { parseWaitFor } from '../../core/guest/stages.js';
import { limits } from '../../core/limits.js';
import { rebase } from '../../services/fleet/rebase.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, dryRunFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Rebase extends BaseCommand {
  static override summary = 'Move a fleet to another base image: canaries first, then the rest in batches.';
  static override description =
    `Members are reset onto the new base image: what the guests have written is given up, names, UUIDs and MAC addresses stay.
With --keep-drift the overlays of members that are off are moved as they are, and the guests see what they saw before.

The canaries are started and waited for; where one fails, the rest is left untouched, and the canaries stay on the new base image
until you rebase again, to it or back.`;
  static override examples = [
    {
      description: 'One canary that must be logged in to, then the rest',
      command: '<%= config.bin %> <%= command.id %> lab --base golden2 --wait ssh',
    },
    {
      description: 'Three canaries, then five at a time',
      command: '<%= config.bin %> <%= command.id %> lab --base golden2 --canary 3 --batch 5 --wait agent',
    },
    {
      description: 'Keep what the guests wrote',
      command: '<%= config.bin %> stop lab && <%= config.bin %> <%= command.id %> lab --base golden2 --keep-drift',
    },
    { description: 'See what would be done', command: '<%= config.bin %> <%= command.id %> lab --base golden2 --dry-run' },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of the fleet, or several' }) };
  static override flags = {
    base: Flags.string({
      char: 'b',
      description: 'the new base image: a name in the store, or a file',
      helpValue: 'NAME|FILE',
      required: true,
    }),
    canary: Flags.integer({ description: 'how many members go first; 0 for none', min: 0, max: limits.members.max, default: 1 }),
    batch: Flags.integer({ description: 'how many of the others are moved at the same time [default: 16]', ...limits.batch }),
    'keep-drift': Flags.boolean({ description: 'move the overlays of members that are off, with what the guests wrote' }),
    ...waitFlags(),
    ...concurrencyFlags,
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Rebase);
    const wait = flags.wait === undefined ? undefined : parseWaitFor(flags.wait);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[]);
      assertWhole('rebase', targets);
      return this.eachFleet(
        targets,
        // The wait for canaries is part of the work: the next fleet begins when this one is through.
        ({ fleet }) =>
          rebase(host, {
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
