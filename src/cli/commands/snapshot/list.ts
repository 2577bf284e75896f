import { Args } from '@oclif/core';
import { listSnapshots } from '../../../services/snapshot/list.js';
import { BaseCommand } from '../../base-command.js';
import { renderSnapshots } from '../../render/snapshots.js';

export default class SnapshotList extends BaseCommand {
  static override summary = 'List snapshots: their backing files, the size of the changes since, and problems.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'Of one domain', command: '<%= config.bin %> <%= command.id %> web' },
  ];
  static override args = { domain: Args.string({ description: 'name or UUID of a domain [default: all that have snapshots]' }) };

  async run() {
    const { args, flags } = await this.parse(SnapshotList);
    return this.onHost(
      flags,
      async (host) => {
        const result = await listSnapshots(host, args.domain);
        this.log(renderSnapshots(result));
        return result;
      },
      { isReader: true },
    );
  }
}
