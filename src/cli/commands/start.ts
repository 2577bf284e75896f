import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { parseWaitRequest } from '../../core/guest/stages.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, dryRunFlag, fileFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Start extends BaseCommand {
  static override summary = 'Start members that are stopped, and resume members that are paused.';
  static override description = [
    'A guest may be paused by a person (virsh suspend), by a watchdog, or because its disk is full. After a full disk, it repeats the writes that failed.',
    'If there is still not enough space, it is paused again, and the member is reported as failed.',
  ].join(' ');
  static override examples = [
    { description: 'All members', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'Two members', command: '<%= config.bin %> <%= command.id %> lab 3,7' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    ...waitFlags(),
    ...concurrencyFlags,
    force: Flags.boolean({ description: 'continue even if host memory is insufficient' }),
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Start);
    const wait = flags.wait === undefined ? undefined : parseWaitRequest(flags.wait);
    return this.onEngine(flags, async (engine, work) => {
      const targets = await engine.findTargets(argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          engine.start({ ...share(work), fleet, members, wait, timeoutMs: flags.timeout, force: flags.force, dryRun: flags['dry-run'] }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }
}
