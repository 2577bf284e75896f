import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { CowherdError } from '../core/errors.js';
import { fileFlag } from '../flags.js';
import { recoverFleet } from '../services/recover.js';
import { type FleetStatus, status } from '../services/status.js';
import { renderStatus, renderWatchFrame } from '../ui/status.js';

const watchMs = 2_000;

export default class Status extends BaseCommand {
  static override summary = 'Show the members of a fleet: state, uptime, overlay size, drift, and what is wrong.';
  static override description =
    `Looks at libvirt and the disk now. With --recover, fleet.json is rebuilt from the domains' own metadata after it was lost.`;
  static override aliases = ['ps'];
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab',
    '<%= config.bin %> <%= command.id %> lab --watch',
    '<%= config.bin %> <%= command.id %> lab --json',
    { description: "What the guests take of the host's memory", command: '<%= config.bin %> <%= command.id %> lab --memory' },
    { description: 'After fleet.json was lost', command: '<%= config.bin %> <%= command.id %> lab --recover' },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of the fleet, or several' }) };
  static override flags = {
    ...fileFlag,
    watch: Flags.boolean({ char: 'w', description: 'look again every 2 s until Ctrl-C', exclusive: ['json'] }),
    memory: Flags.boolean({ description: 'what each QEMU takes: resident, proportional, in swap, merged by KSM; and the sum' }),
    recover: Flags.boolean({ description: 'rebuild a lost fleet.json from the domains' }),
  };

  async run() {
    const { argv, flags } = await this.parse(Status);
    return this.onHost(
      flags,
      async (host, { signal }) => {
        const { fleets, members } = await this.targets(host, argv as string[], flags.file);
        if (members.length > 0)
          throw new CowherdError('BAD_USAGE', 'status is about whole fleets', { hint: `Try: cowherd status ${fleets[0]}` });
        while (flags.watch && !signal.aborted) {
          const frames: string[] = [];
          for (const fleet of fleets)
            frames.push(renderWatchFrame(await status(host, fleet, flags), Math.floor((process.stdout.rows ?? 50) / fleets.length)));
          if (process.stdout.isTTY && process.env.TERM !== 'dumb') this.logRaw('\u001b[H\u001b[2J');
          this.log(frames.join('\n\n'));
          await host.clock.sleep(watchMs, signal);
        }
        if (flags.watch) return undefined;
        const look = async (fleet: string): Promise<FleetStatus> => {
          if (flags.recover) await recoverFleet(host, fleet);
          return status(host, fleet, flags);
        };
        return this.eachFleet(fleets, look, renderStatus);
      },
      { isWatch: flags.watch, isReader: !flags.watch && !flags.recover },
    );
  }
}
