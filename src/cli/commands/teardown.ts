import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import type { Target } from '../../core/fleet/selection/targets.js';
import type { Engine } from '../../services/engine/engine.js';
import { BaseCommand } from '../base-command.js';
import { bootConcurrencyFlag, concurrencyFlags, dryRunFlag, fileFlag } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';
import { renderLoss } from '../render/teardown.js';
import { confirmed, isTerminal } from '../terminal/confirm.js';

export default class Teardown extends BaseCommand {
  static override summary = 'Remove a fleet: its domains, overlays, logs and state. The base image stays.';
  static override description = [
    'Removes only what cowherd created for the fleet. If you name members, only those are removed and the fleet shrinks.',
    'On a terminal, shows what would be lost and asks for confirmation; elsewhere --yes is required.\n\n"cowherd down" is an alias, as "docker compose down" removes what "up" created.',
    'To shut guests down and keep their disks (as "vagrant halt" does), use "cowherd stop".',
  ].join(' ');
  static override aliases = ['rm', 'down'];
  static override examples = [
    { description: 'The whole fleet', command: '<%= config.bin %> <%= command.id %> lab --yes' },
    { description: 'Shrink the fleet', command: '<%= config.bin %> <%= command.id %> lab 81-100 --yes' },
    {
      description: 'With its base image, if no other fleet uses it',
      command: '<%= config.bin %> <%= command.id %> lab --with-base --yes',
    },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: the whole fleet]' }),
  };
  static override flags = {
    ...fileFlag,
    yes: Flags.boolean({ char: 'y', description: 'do not ask for confirmation' }),
    'with-base': Flags.boolean({ description: 'also remove the base image, unless another fleet uses it' }),
    ...concurrencyFlags,
    'boot-concurrency': bootConcurrencyFlag('number of members to stop and undefine at the same time [default: 8]'),
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Teardown);
    return this.onEngine(flags, async (engine, work) => {
      const targets = await engine.findTargets(argv as string[], flags.file);
      if (!flags.yes && !flags['dry-run']) await this.ask(engine, targets, work.signal);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          engine.teardown({ ...share(work), fleet, members, withBase: flags['with-base'], dryRun: flags['dry-run'] }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }

  private async ask(engine: Engine, targets: readonly Target[], signal: AbortSignal): Promise<void> {
    const losses: string[] = [];
    for (const { fleet, members } of targets) losses.push(`${fleet}: ${renderLoss(await engine.teardownLoss(fleet, members))}`);
    const what = targets.map(({ fleet, members }) => (members.length > 0 ? `members ${members.join(',')} of ${fleet}` : fleet)).join(', ');
    if (!isTerminal() || this.jsonEnabled()) {
      throw new CowherdError(
        'CONFIRMATION_NEEDED',
        `Tearing down ${what} cannot be undone and needs confirmation, but stdin is not a terminal`,
        {
          details: losses,
          hint: 'Add --yes, or look first with --dry-run.',
        },
      );
    }
    await confirmed([`This permanently removes:`, ...losses.map((loss) => `  ${loss}`), `Tear down ${what}?`].join('\n'), signal);
  }
}
