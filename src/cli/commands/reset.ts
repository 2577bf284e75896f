import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { parseWaitFor } from '../../core/guest/stages.js';
import { reset } from '../../services/fleet/reset/reset.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, dryRunFlag, fileFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Reset extends BaseCommand {
  static override summary = 'Put members back to clean: a fresh overlay for each.';
  static override description =
    `Everything that the guests have written is given up; names, UUIDs and MAC addresses stay. It takes as long for a guest that
wrote gigabytes as for one that wrote nothing. Members that ran are started again.`;
  static override examples = [
    { description: 'The whole fleet', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
    { description: 'And wait until they can be logged in to', command: '<%= config.bin %> <%= command.id %> lab --wait ssh' },
    { description: 'Back to the moment of the checkpoint', command: '<%= config.bin %> <%= command.id %> lab --warm' },
    { description: 'All fleets of a lab, and leave them off', command: '<%= config.bin %> <%= command.id %> --file lab.yaml --start none' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    start: Flags.option({
      description: 'who runs afterwards: all, none, or those that ran',
      options: ['all', 'none', 'same'] as const,
      default: 'same',
    })(),
    'keep-instance': Flags.boolean({ description: 'keep the instance-id of the seeds: do not ask for first-boot work again' }),
    warm: Flags.boolean({ description: 'back to the checkpoint, running and ready, without a boot: see "cowherd checkpoint"' }),
    hook: Flags.string({
      description: 'with --warm: a command line that a shell runs in each guest at the end, by its agent',
      dependsOn: ['warm'],
      helpValue: 'COMMAND',
    }),
    ...waitFlags(),
    ...concurrencyFlags,
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Reset);
    const wait = flags.wait === undefined ? undefined : parseWaitFor(flags.wait);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          reset(host, {
            ...share(work),
            fleet,
            members,
            start: flags.start,
            keepInstance: flags['keep-instance'],
            warm: flags.warm,
            hook: flags.hook,
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
