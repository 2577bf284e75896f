import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { renderBase } from '../../render/bases.js';
import { page } from '../../terminal/layout.js';

export default class BaseAdd extends BaseCommand {
  static override summary = 'Import an image into the store.';
  static override description = [
    'spawn does this automatically.',
    'To repair a base image that was changed, add the original file again.',
  ].join(' ');
  static override examples = ['<%= config.bin %> <%= command.id %> debian-12.qcow2 --name debian12'];
  static override args = { file: Args.string({ description: 'a qcow2 or raw image', required: true }) };
  static override flags = {
    name: Flags.string({ description: 'name of the base image [default: the file name in lower case, without its extension]' }),
    format: Flags.option({ description: 'format of the file [default: auto-detected]', options: ['qcow2', 'raw'] as const })(),
    'trust-chain': Flags.boolean({ description: 'accept an image that has a backing file, and flatten it' }),
  };

  async run() {
    const { args, flags } = await this.parse(BaseAdd);
    return this.onEngine(flags, async ({ bases }, work) => {
      const request = { path: args.file, name: flags.name, format: flags.format, trustChain: flags['trust-chain'] };
      const result = await bases.add(request, work);
      this.log(`${renderBase(result)}\n${result.how === 'already there' ? 'Already in the store.' : `Imported (${result.how}).`}`);
      if (result.warning !== undefined) this.logToStderr(page(`note: ${result.warning}`, process.stderr));
      return result;
    });
  }
}
