import { Args, Flags } from '@oclif/core';
import { pullBase } from '../../../services/base/pull/pull.js';
import { BaseCommand } from '../../base-command.js';
import { catalogFlags, ownCatalogOf } from '../../flags/catalog.js';
import { digestFlags, unpackFlags } from '../../flags/pull.js';
import { renderPull } from '../../render/bases.js';
import { page } from '../../terminal/layout.js';

export default class BasePull extends BaseCommand {
  static override summary = 'Download an image, verify it and import it as a base image.';
  static override description = [
    'The image is named by the catalog ("base catalog" lists it) or by a URL. Compressed, archived and foreign formats are unpacked and',
    'converted. If the store has the image already, nothing is downloaded. An interrupted download continues when the command is repeated.',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %> debian-12',
    '<%= config.bin %> <%= command.id %> https://example.com/golden.qcow2.xz --as golden --sha256 1a2b…',
  ];
  static override args = { image: Args.string({ description: 'a name of the catalog, or an http or https URL', required: true }) };
  static override flags = {
    as: Flags.string({ description: 'name of the base image [default: that in the catalog, or one from the URL]', helpValue: 'NAME' }),
    ...digestFlags,
    checksums: Flags.string({
      description: 'with a URL: list of digests, such as SHA256SUMS, in which the file must be',
      helpValue: 'URL',
    }),
    ...catalogFlags,
    format: Flags.option({ description: 'format of the disk [default: auto-detected]', options: ['qcow2', 'raw'] as const })(),
    ...unpackFlags,
  };

  async run() {
    const { args, flags } = await this.parse(BasePull);
    return this.onHost(flags, async (host, work) => {
      const { as, sha256, sha512, checksums, arch, disk, format } = flags;
      const catalog = await ownCatalogOf(flags);
      const maxBytes = flags['max-size'];
      const result = await pullBase(host, {
        ...work,
        image: args.image,
        as,
        sha256,
        sha512,
        checksums,
        arch,
        catalog,
        disk,
        format,
        maxBytes,
      });
      this.log(renderPull(result));
      for (const note of result.notes) this.logToStderr(page(`note: ${note}`, process.stderr));
      return result;
    });
  }
}
