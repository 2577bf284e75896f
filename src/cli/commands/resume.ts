import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { assertWhole } from '../../core/fleet/targets.js';
import { resume } from '../../services/fleet/resume.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, fileFlag } from '../flags/run.js';
import { renderResumed } from '../render/outcome.js';

export default class Resume extends BaseCommand {
  static override summary = 'Finish a spawn, reset, rebase or teardown that was interrupted.';
  static override description =
    'After Ctrl-C, a crash or kill -9. Members that were done are left alone; "cowherd status" says what is unfinished. With nothing to finish, the exit code is 0.';
  static override examples = ['<%= config.bin %> <%= command.id %> lab'];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of the fleet, or several' }) };
  static override flags = {
    ...fileFlag,
    ...concurrencyFlags,
    force: Flags.boolean({ description: 'go on although a preflight check failed' }),
  };

  async run() {
    const { argv, flags } = await this.parse(Resume);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[], flags.file);
      assertWhole('resume', targets);
      return this.eachFleet(
        targets,
        ({ fleet }, share) => resume(host, { ...share(work), fleet, force: flags.force }),
        renderResumed,
        exitCodeOfOutcome,
      );
    });
  }
}
