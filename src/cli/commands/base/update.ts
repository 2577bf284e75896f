import { Args } from '@oclif/core';
import { updateBase } from '../../../services/base/pull/update.js';
import { BaseCommand } from '../../base-command.js';
import { catalogFlags, ownCatalogOf } from '../../flags/catalog.js';
import { digestFlags, maxSizeFlag } from '../../flags/pull.js';
import { renderUpdate } from '../../render/bases.js';
import { page } from '../../terminal/layout.js';

export default class BaseUpdate extends BaseCommand {
  static override summary = 'Pull a newer version of a base image.';
  static override description = [
    'The image is pulled from where it came from. A newer one gets the same name. Fleets stay on the one that they use: "status" shows which',
    'members are on an older one, and "rebase" moves them.',
  ].join(' ');
  static override examples = ['<%= config.bin %> <%= command.id %> debian-12'];
  static override args = { name: Args.string({ description: 'name of a base image that was pulled', required: true }) };
  static override flags = { ...digestFlags, catalog: catalogFlags.catalog, ...maxSizeFlag };

  async run() {
    const { args, flags } = await this.parse(BaseUpdate);
    return this.onHost(flags, async (host, work) => {
      const { sha256, sha512 } = flags;
      const catalog = await ownCatalogOf(flags);
      const update = await updateBase(host, { ...work, name: args.name, sha256, sha512, catalog, maxBytes: flags['max-size'] });
      this.log(renderUpdate(update));
      if (update.isNew) for (const note of update.notes) this.logToStderr(page(`note: ${note}`, process.stderr));
      return update;
    });
  }
}
