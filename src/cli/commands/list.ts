import { parseStates } from '../../core/fleet/selection/member-filter.js';
import { filterFleets } from '../../services/fleet/status/status-filter.js';
import { BaseCommand } from '../base-command.js';
import { asksForJson, tableFlags } from '../flags/table.js';
import { renderFleets } from '../render/status.js';
import { yamlOutput } from '../terminal/yaml.js';

export default class List extends BaseCommand {
  static override summary = 'List all fleets in the store.';
  static override aliases = ['ls'];
  static override description = 'The columns are fleet, members, base, overlays, running, off, paused, broken, missing and state.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --json',
    { description: 'Fleets with problems', command: '<%= config.bin %> <%= command.id %> --problems' },
    { description: 'Largest first, as CSV', command: '<%= config.bin %> <%= command.id %> --sort=-overlays -o csv' },
  ];
  static override flags = tableFlags;

  override jsonEnabled(): boolean {
    return super.jsonEnabled() || asksForJson(this.argv);
  }

  async run() {
    const { flags } = await this.parse(List);
    const states = flags.state === undefined ? undefined : parseStates(flags.state);
    const isFiltered = flags.problems || states !== undefined;
    return this.onEngine(
      flags,
      async (engine) => {
        const fleets = filterFleets(await engine.list(), { problems: flags.problems, states });
        if (flags.output === 'yaml') this.log(await yamlOutput({ fleets }));
        else if (fleets.length > 0 || !isFiltered) this.log(renderFleets(fleets, engine.root, flags));
        if (fleets.length === 0 && isFiltered) this.logToStderr('No fleets match.');
        return { fleets };
      },
      { isReader: true },
    );
  }
}
