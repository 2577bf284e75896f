import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { exitCodeOfOutcome } from '../core/outcome.js';
import { concurrencyFlags } from '../flags.js';
import { resume } from '../services/resume.js';
import { renderResumed } from '../ui/outcome.js';

export default class Resume extends BaseCommand {
  static override summary = 'Finish a spawn, reset, rebase or teardown that was interrupted.';
  static override description =
    'After Ctrl-C, a crash or kill -9. Members that were done are left alone; "cowherd status" says what is unfinished. With nothing to finish, the exit code is 0.';
  static override examples = ['<%= config.bin %> <%= command.id %> lab'];
  static override args = { fleet: Args.string({ description: 'name of the fleet', required: true }) };
  static override flags = {
    ...concurrencyFlags,
    force: Flags.boolean({ description: 'go on although a preflight check failed' }),
  };

  async run() {
    const { args, flags } = await this.parse(Resume);
    return this.onHost(flags, (host, work) =>
      this.eachFleet([args.fleet], (fleet) => resume(host, { ...work, fleet, force: flags.force }), renderResumed, exitCodeOfOutcome),
    );
  }
}
