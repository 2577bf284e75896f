import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import { exitCodeOfOutcome } from '../../core/fleet/outcome.js';
import type { Target } from '../../core/fleet/targets.js';
import type { Host } from '../../host.js';
import { teardown } from '../../services/fleet/teardown.js';
import { teardownLoss } from '../../services/fleet/teardown-loss.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, dryRunFlag, fileFlag } from '../flags/run.js';
import { renderOutcome } from '../render/outcome.js';
import { renderLoss } from '../render/teardown.js';
import { confirmed, isTerminal } from '../terminal/confirm.js';

export default class Teardown extends BaseCommand {
  static override summary = 'Take a fleet down: its domains, overlays, logs and state. The base image stays.';
  static override description =
    `Removes what cowherd made for the fleet, and nothing else. With members named, only those go: that is how a fleet shrinks.
Says what would be lost and asks, on a terminal; elsewhere --yes is needed.

"cowherd down" is this command, as "docker compose down" removes what "up" made. To shut guests down and keep their disks (as
"vagrant halt" does), use "cowherd stop".`;
  static override aliases = ['rm', 'down'];
  static override examples = [
    { description: 'The whole fleet', command: '<%= config.bin %> <%= command.id %> lab --yes' },
    { description: 'Shrink it', command: '<%= config.bin %> <%= command.id %> lab 81-100 --yes' },
    {
      description: 'With its base image, if no other fleet stands on it',
      command: '<%= config.bin %> <%= command.id %> lab --with-base --yes',
    },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: the whole fleet]' }),
  };
  static override flags = {
    ...fileFlag,
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    'with-base': Flags.boolean({ description: 'remove the base image too, unless another fleet stands on it' }),
    ...concurrencyFlags,
    ...dryRunFlag,
  };

  async run() {
    const { argv, flags } = await this.parse(Teardown);
    return this.onHost(flags, async (host, work) => {
      const targets = await this.targets(host, argv as string[], flags.file);
      if (!flags.yes && !flags['dry-run']) await this.ask(host, targets, work.signal);
      return this.eachFleet(
        targets,
        ({ fleet, members }, share) =>
          teardown(host, { ...share(work), fleet, members, withBase: flags['with-base'], dryRun: flags['dry-run'] }),
        renderOutcome,
        exitCodeOfOutcome,
      );
    });
  }

  private async ask(host: Host, targets: readonly Target[], signal: AbortSignal): Promise<void> {
    const losses: string[] = [];
    for (const { fleet, members } of targets) losses.push(`${fleet}: ${renderLoss(await teardownLoss(host, fleet, members))}`);
    const what = targets.map(({ fleet, members }) => (members.length > 0 ? `members ${members.join(',')} of ${fleet}` : fleet)).join(', ');
    if (!isTerminal() || this.jsonEnabled()) {
      throw new CowherdError('CONFIRMATION_NEEDED', `Tearing down ${what} cannot be undone, and there is no terminal to ask on`, {
        details: losses,
        hint: 'Add --yes, or look first with --dry-run.',
      });
    }
    await confirmed([`This removes for good:`, ...losses.map((loss) => `  ${loss}`), `Tear down ${what}?`].join('\n'), signal);
  }
}
