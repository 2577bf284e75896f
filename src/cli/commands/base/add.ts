import { Args, Flags } from '@oclif/core';
import { parseUnpackedBytes } from '../../../core/limits.js';
import { BaseCommand } from '../../base-command.js';
import { renderBase } from '../../render/bases.js';
import { page } from '../../terminal/layout.js';

export default class BaseAdd extends BaseCommand {
  static override summary = 'Import an image into the store.';
  static override description = [
    'spawn does this automatically.',
    'Compressed files and archives are unpacked, and disks of other hypervisors are converted to qcow2.',
    'To repair a base image that was changed, add the original file again.',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %> debian-12.qcow2 --name debian12',
    '<%= config.bin %> <%= command.id %> appliance.ova --disk appliance-disk1.vmdk',
  ];
  static override args = {
    file: Args.string({ description: 'an image: qcow2, raw, vmdk, vhd, vhdx or vdi, also compressed or in a tar archive', required: true }),
  };
  static override flags = {
    name: Flags.string({ description: 'name of the base image [default: the file name in lower case, without its extension]' }),
    format: Flags.option({ description: 'format of the file [default: auto-detected]', options: ['qcow2', 'raw'] as const })(),
    disk: Flags.string({ description: 'the disk to import from an archive with several', helpValue: 'NAME' }),
    'max-size': Flags.custom<number>({
      description: 'largest size of what is unpacked or converted [default: 64GiB]',
      helpValue: 'SIZE',
      parse: async (text) => parseUnpackedBytes(text),
    })(),
    'trust-chain': Flags.boolean({ description: 'accept an image that has a backing file, and flatten it' }),
  };

  async run() {
    const { args, flags } = await this.parse(BaseAdd);
    return this.onEngine(flags, async ({ bases }, work) => {
      const { name, format, disk, 'max-size': maxBytes, 'trust-chain': trustChain } = flags;
      const request = { path: args.file, name, format, disk, maxBytes, trustChain };
      const result = await bases.add(request, work);
      this.log(`${renderBase(result)}\n${result.how === 'already there' ? 'Already in the store.' : `Imported (${result.how}).`}`);
      if (result.warning !== undefined) this.logToStderr(page(`note: ${result.warning}`, process.stderr));
      return result;
    });
  }
}
