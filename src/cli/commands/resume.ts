import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { assertWhole } from '../../core/fleet/selection/targets.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlag, concurrencyFlags, fileFlag } from '../flags/run.js';
import { renderResumed } from '../render/outcome.js';

export default class Resume extends BaseCommand {
  static override summary = 'Finish an interrupted spawn, reset, checkpoint, rebase or teardown.';
  static override description = [
    'Use it after Ctrl-C, a crash or kill -9. Members that are already done are not touched.',
    '"cowherd status" shows what is unfinished. If nothing is unfinished, the exit code is 0.',
  ].join(' ');
  static override examples = ['<%= config.bin %> <%= command.id %> lab'];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of one or more fleets' }) };
  static override flags = {
    ...fileFlag,
    ...concurrencyFlags,
    concurrency: concurrencyFlag('[default: 16; a reset: all]'),
    force: Flags.boolean({ description: 'continue even if a preflight check failed' }),
  };

  async run() {
    const { argv, flags } = await this.parse(Resume);
    return this.onEngine(flags, async (engine, work) => {
      const targets = await engine.findTargets(argv as string[], flags.file);
      assertWhole('resume', targets);
      return this.eachFleet(
        targets,
        ({ fleet }, share) => engine.resume({ ...share(work), fleet, force: flags.force }),
        renderResumed,
        exitCodeOfOutcome,
      );
    });
  }
}
