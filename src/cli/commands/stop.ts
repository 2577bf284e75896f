import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { stop } from '../../services/fleet/power.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, fileFlag, timeoutFlag } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Stop extends BaseCommand {
  static override summary = 'Shut members down: by the guest agent if it answers, else by the power button.';
  static override examples = [
    { description: 'All of them', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'Give them two minutes, then end them', command: '<%= config.bin %> <%= command.id %> lab --timeout 2m --force' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    ...timeoutFlag('how long a guest may take [default: 1m]'),
    concurrency: concurrencyFlags.concurrency,
    force: Flags.boolean({ description: 'end those at once that did not shut down in time' }),
  };

  async run() {
    const { argv, flags } = await this.parse(Stop);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) => stop(host, { ...share(work), fleet, members, force: flags.force, timeoutMs: flags.timeout }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }
}
