import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlag, dryRunFlag, fileFlag, timeoutFlag } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Stop extends BaseCommand {
  static override summary = 'Shut members down through the guest agent, or with the power button if no agent answers.';
  static override examples = [
    { description: 'All members', command: '<%= config.bin %> <%= command.id %> lab' },
    {
      description: 'Force off members that are still running after two minutes',
      command: '<%= config.bin %> <%= command.id %> lab --timeout 2m --force',
    },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    ...timeoutFlag('how long to wait for each guest [default: 1m]'),
    concurrency: concurrencyFlag('[default: all]'),
    force: Flags.boolean({ description: 'force off members that do not shut down in time' }),
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Stop);
    return this.onEngine(flags, async (engine, work) => {
      const targets = await engine.findTargets(argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          engine.stop({ ...share(work), fleet, members, force: flags.force, timeoutMs: flags.timeout, dryRun: flags['dry-run'] }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }
}
