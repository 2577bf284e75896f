import { Args, Flags } from '@oclif/core';
import { watchEvents } from '../../services/events/watch.js';
import { loadFleet } from '../../services/fleet/access.js';
import { BaseCommand } from '../base-command.js';
import { renderEvent } from '../render/events.js';

export default class Events extends BaseCommand {
  static override summary = 'Print changes of members and commands as they happen, until Ctrl-C.';
  static override description = [
    'Reports states of members, guest agents, disk errors, checkpoints, and commands of cowherd with the members that they finish,',
    'whatever causes them. After libvirt was restarted, changes that were missed are found by comparing states.\n\n',
    'With --json, each event is one line: time, fleet, member, what, from, to, operation and reason.',
  ].join(' ');
  static override examples = [
    { description: 'All fleets', command: '<%= config.bin %> <%= command.id %>' },
    { description: 'The current state first, then changes', command: '<%= config.bin %> <%= command.id %> lab --initial' },
    {
      description: 'Members that stop, for a script',
      command: `<%= config.bin %> <%= command.id %> lab --json | jq -r 'select(.what == "state" and .to == "shutOff") | .member'`,
    },
  ];
  static override strict = false;
  static override args = { fleet: Args.string({ description: 'name of one or more fleets [default: all]' }) };
  static override flags = { initial: Flags.boolean({ description: 'begin with the current state' }) };

  async run() {
    const { argv, flags } = await this.parse(Events);
    const fleets = argv as string[];
    return this.onHost(
      flags,
      async (host, { signal }) => {
        for (const fleet of fleets) await loadFleet(host, fleet);
        const isJson = this.jsonEnabled();
        await watchEvents(host, {
          fleets: fleets.length === 0 ? undefined : fleets,
          initial: flags.initial,
          signal,
          onEvent: (event) => (isJson ? this.logRaw(`${JSON.stringify(event)}\n`) : this.log(renderEvent(event))),
        });
        return undefined;
      },
      { isWatch: true },
    );
  }
}
