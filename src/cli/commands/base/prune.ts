import { Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { renderPrune } from '../../render/bases.js';

export default class BasePrune extends BaseCommand {
  static override summary = 'Remove unused base images; without --yes, only list them.';
  static override description =
    'A base image is in use if a fleet, an unfinished operation, a domain or a layered image is based on it. If this cannot be determined, nothing is removed.';
  static override examples = [
    { description: 'List unused base images', command: '<%= config.bin %> <%= command.id %>' },
    { description: 'Remove old imports', command: '<%= config.bin %> <%= command.id %> --keep-newest --yes' },
  ];
  static override flags = {
    yes: Flags.boolean({ char: 'y', description: 'remove the listed images' }),
    'keep-newest': Flags.boolean({ description: 'keep the newest import of each name' }),
  };

  async run() {
    const { flags } = await this.parse(BasePrune);
    return this.onEngine(flags, async ({ bases }, options) => {
      const result = await bases.prune({ ...options, remove: flags.yes, keepNewest: flags['keep-newest'] });
      this.log(renderPrune(result));
      return result;
    });
  }
}
