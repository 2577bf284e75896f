import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import { parseWaitRequest } from '../../core/guest/stages.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlag, concurrencyFlags, dryRunFlag, fileFlag, waitFlags } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';

export default class Reset extends BaseCommand {
  static override summary = 'Reset members to a clean state with fresh overlays.';
  static override description = [
    'Everything that the guests have written is discarded, and checkpoints are deleted; names, UUIDs and MAC addresses stay the same.',
    'The time does not depend on how much a guest has written.',
    'Members that were running are started again (see --start).\n\nWith --warm, the checkpoint of each member is restored and kept, and all selected members run afterwards.',
    'A member whose checkpoint is from another QEMU version, machine type or definition is reset cold.',
    'Clones without a checkpoint are cloned again, with or without --warm.',
  ].join(' ');
  static override examples = [
    { description: 'The whole fleet', command: '<%= config.bin %> <%= command.id %> lab' },
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
    { description: 'Wait until they accept ssh logins', command: '<%= config.bin %> <%= command.id %> lab --wait ssh' },
    { description: 'Restore the checkpoint', command: '<%= config.bin %> <%= command.id %> lab --warm' },
    {
      description: 'All fleets in a file, without starting them',
      command: '<%= config.bin %> <%= command.id %> --file lab.yaml --start none',
    },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    start: Flags.option({
      description: 'members to start afterwards: all, none, or same (those that were running); not with --warm, which starts all',
      options: ['all', 'none', 'same'] as const,
      default: 'same',
    })(),
    'keep-instance': Flags.boolean({
      description: 'keep the instance-id of the seeds, so that cloud-init does not repeat first-boot tasks; not with --warm',
    }),
    warm: Flags.boolean({ description: 'restore the checkpoint without booting: see "cowherd checkpoint"' }),
    hook: Flags.string({
      description: 'with --warm: shell command to run in each guest afterwards, through its agent',
      dependsOn: ['warm'],
      helpValue: 'COMMAND',
    }),
    ...waitFlags('[default: 5m]. With --warm, it also limits the agent and the hook in each guest [default for these: 1m]'),
    ...concurrencyFlags,
    concurrency: concurrencyFlag('[default: all; with --warm: 32]'),
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Reset);
    const wait = flags.wait === undefined ? undefined : parseWaitRequest(flags.wait);
    return this.onEngine(flags, async (engine, work) => {
      const targets = await engine.findTargets(argv as string[], flags.file);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          engine.reset({
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
