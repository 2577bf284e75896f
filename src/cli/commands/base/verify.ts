import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { page } from '../../terminal/layout.js';

export default class BaseVerify extends BaseCommand {
  static override summary = 'Verify the digest of a base image and check its qcow2 structure.';
  static override description =
    'Commands that create overlays only compare size, modification time and inode; this command reads the whole content. The exit code is 7 if it has changed.';
  static override examples = ['<%= config.bin %> <%= command.id %> golden'];
  static override args = { base: Args.string({ description: 'NAME, NAME@DIGEST or a digest', required: true }) };

  async run() {
    const { args, flags } = await this.parse(BaseVerify);
    return this.onEngine(flags, async ({ bases }, work) => {
      const result = await bases.verify(args.base, work);
      const below = result.layers.length === 0 ? '' : `; and below it ${result.layers.join(', ')}`;
      this.tell(`${result.name}: as imported, ${result.hash} ${result.digest}${below}`);
      if (result.warning !== undefined) this.logToStderr(page(`note: ${result.warning}`, process.stderr));
      return result;
    });
  }
}
