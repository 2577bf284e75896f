import { BaseCommand } from '../../base-command.js';
import { renderBases } from '../../render/bases.js';

export default class BaseList extends BaseCommand {
  static override summary = 'List the base images in the store and the fleets that use them.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  async run() {
    const { flags } = await this.parse(BaseList);
    return this.onEngine(
      flags,
      async ({ bases }) => {
        const result = await bases.list();
        this.log(renderBases(result.bases, result.damaged));
        return result;
      },
      { isReader: true },
    );
  }
}
