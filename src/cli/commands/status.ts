import { Args, Flags } from '@oclif/core';
import { parseStates } from '../../core/fleet/selection/member-filter.js';
import type { Target } from '../../core/fleet/selection/targets.js';
import { changesOf } from '../../services/engine/changes-of.js';
import type { Engine } from '../../services/engine/engine.js';
import type { FleetStatus } from '../../services/fleet/status/status.js';
import { filterStatus } from '../../services/fleet/status/status-filter.js';
import { BaseCommand } from '../base-command.js';
import { fileFlag } from '../flags/run.js';
import { asksForJson, tableFlags } from '../flags/table.js';
import { renderFleets, renderStatus, renderWatchFrame } from '../render/status.js';
import { statusFields, statusRows } from '../render/status-fields.js';
import { renderRows, type TableView } from '../terminal/rows.js';
import { yamlOutput } from '../terminal/yaml.js';

/** Between two frames: changes are shown at once, drift and uptime after a while. In milliseconds. */
const watchMs = { least: 500, most: 5_000 };

export default class Status extends BaseCommand {
  static override summary = 'Show the state, uptime, overlay size, drift and problems of members.';
  static override aliases = ['ps'];
  static override description = [
    'Reads the current state from libvirt and the disk. Without a name, shows all fleets.',
    'With --recover, rebuilds a lost fleet.json from the metadata of the domains.',
  ].join(' ');
  static override examples = [
    { description: 'All fleets', command: '<%= config.bin %> <%= command.id %>' },
    '<%= config.bin %> <%= command.id %> lab',
    { description: 'Some members', command: '<%= config.bin %> <%= command.id %> lab 1-10,17' },
    { description: 'Problems in all fleets', command: '<%= config.bin %> <%= command.id %> --problems' },
    {
      description: 'Members with the most drift first',
      command: '<%= config.bin %> <%= command.id %> lab --sort=-drift --columns member,drift,state',
    },
    '<%= config.bin %> <%= command.id %> lab --watch',
    { description: "The guests' use of host memory", command: '<%= config.bin %> <%= command.id %> lab --memory' },
    { description: 'After fleet.json was lost', command: '<%= config.bin %> <%= command.id %> lab --recover' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets [default: all]' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    ...tableFlags,
    watch: Flags.boolean({ char: 'w', description: 'show changes until Ctrl-C', exclusive: ['json', 'output'] }),
    memory: Flags.boolean({
      description: 'show the memory of each QEMU process (resident, proportional, swapped, merged by KSM) and the total',
    }),
    recover: Flags.boolean({ description: 'rebuild a lost fleet.json from the domains' }),
  };

  override jsonEnabled(): boolean {
    return super.jsonEnabled() || asksForJson(this.argv);
  }

  async run() {
    const { argv, flags } = await this.parse(Status);
    const states = flags.state === undefined ? undefined : parseStates(flags.state);
    const isFiltered = flags.problems || states !== undefined;
    const isAll = argv.length === 0 && flags.file === undefined;
    return this.onEngine(
      flags,
      async (engine, { signal }) => {
        const targets = isAll ? await allFleets(engine) : await engine.findTargets(argv as string[], flags.file);
        const look = async ({ fleet, members }: Target): Promise<FleetStatus> => {
          if (flags.recover) await engine.recover(fleet);
          return filterStatus(await engine.status(fleet, flags), { members, problems: flags.problems, states });
        };
        if (flags.watch) return this.watch(engine, targets, look, flags, signal);
        if (targets.length === 0) this.log(renderFleets([], engine.root, flags));
        const found: FleetStatus[] = [];
        const document = await this.eachFleet(targets, look, (result) => {
          found.push(result);
          if (flags.output === 'csv' || flags.output === 'yaml') return undefined;
          // Without names, fleets that the filter leaves empty are skipped.
          return isAll && isFiltered && result.members.length === 0 && isFine(result) ? undefined : renderStatus(result, flags);
        });
        // Without names the result is always a list, even of one fleet.
        const whole = isAll && targets.length === 1 ? { fleets: [document] } : document;
        if (isFiltered && found.every(({ members }) => members.length === 0)) this.logToStderr('No members match.');
        if (flags.output === 'csv') this.log(renderRows(statusRows(found), Object.values(statusFields), [], flags));
        if (flags.output === 'yaml') this.log(await yamlOutput(whole));
        return whole;
      },
      { isWatch: flags.watch, isReader: !flags.watch && !flags.recover },
    );
  }

  private async watch(
    engine: Engine,
    targets: readonly Target[],
    look: (target: Target) => Promise<FleetStatus>,
    view: TableView,
    signal: AbortSignal,
  ): Promise<undefined> {
    const changes = await changesOf(
      engine,
      targets.map(({ fleet }) => fleet),
      signal,
    );
    while (!signal.aborted) {
      const frames: string[] = [];
      const rows = Math.floor((process.stdout.rows ?? 50) / Math.max(1, targets.length));
      for (const target of targets) frames.push(renderWatchFrame(await look(target), rows, view));
      if (process.stdout.isTTY && process.env.TERM !== 'dumb') this.logRaw('\u001b[H\u001b[2J');
      this.log(frames.join('\n\n'));
      await changes.next(watchMs);
    }
  }
}

async function allFleets(engine: Engine): Promise<Target[]> {
  return (await engine.fleetNames()).map((fleet) => ({ fleet, members: [] }));
}

/** Whether the fleet itself has no problem. */
function isFine({ base, unfinished }: FleetStatus): boolean {
  return base.problem === null && unfinished === undefined;
}
