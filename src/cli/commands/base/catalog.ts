import { Args } from '@oclif/core';
import { listCatalog } from '../../../services/base/catalog.js';
import { BaseCommand } from '../../base-command.js';
import { catalogFlags, ownCatalogOf } from '../../flags/catalog.js';
import { renderCatalog } from '../../render/catalog.js';

export default class BaseCatalog extends BaseCommand {
  static override summary = 'List the images that can be downloaded by name.';
  static override description = [
    'With one name, shows the addresses of the image, how it is verified, and its defaults.',
    'The list is part of cowherd, and nothing is downloaded except a catalog of your own.',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> debian',
    '<%= config.bin %> <%= command.id %> --arch aarch64',
    '<%= config.bin %> <%= command.id %> --catalog images.yaml',
  ];
  static override args = { image: Args.string({ description: 'names or aliases of images [default: all]' }) };
  static override strict = false;
  static override flags = catalogFlags;

  async run() {
    const { argv, flags } = await this.parse(BaseCatalog);
    const names = argv as string[];
    return this.onHost(
      flags,
      async (ports, { signal }) => {
        const result = await listCatalog(ports, { names, architecture: flags.arch, catalog: await ownCatalogOf(flags), signal });
        this.log(renderCatalog(result.images, { details: names.length === 1 }));
        return result;
      },
      { isReader: true },
    );
  }
}
