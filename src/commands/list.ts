import { BaseCommand } from '../base-command.js';
import { listFleets } from '../services/status.js';
import { renderFleets } from '../ui/status.js';

export default class List extends BaseCommand {
  static override summary = 'List all fleets of the store.';
  static override aliases = ['ls'];
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run() {
    const { flags } = await this.parse(List);
    return this.onHost(
      flags,
      async (host) => {
        const fleets = await listFleets(host);
        this.log(renderFleets(fleets, host.fleets.root));
        return { fleets };
      },
      { isReader: true },
    );
  }
}
