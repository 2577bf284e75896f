import { Flags } from '@oclif/core';
import { architectures } from '../../core/image/catalog.js';
import { readDefaults } from '../defaults.js';

/** Flags of commands that look up images in the catalog. */
export const catalogFlags = {
  arch: Flags.option({ description: 'architecture of the image', options: architectures })(),
  catalog: Flags.string({
    description:
      'your own catalog, whose images are added to the built-in ones [default: COWHERD_CATALOG, otherwise catalog in the config files]',
    helpValue: 'FILE|URL',
  }),
};

/** The user's own catalog: that of the flag, otherwise the default. */
export async function ownCatalogOf(flags: { catalog?: string | undefined }): Promise<string | undefined> {
  return flags.catalog ?? (await readDefaults()).settings.catalog?.value;
}
