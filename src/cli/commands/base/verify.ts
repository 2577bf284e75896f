import { Args } from '@oclif/core';
import { verifyBase } from '../../../services/base/verify.js';
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
    return this.onHost(flags, async (host, work) => {
      const result = await verifyBase(host, args.base, work);
      const below = result.layers.length === 0 ? '' : `; and below it ${result.layers.join(', ')}`;
      this.tell(`${result.name}: as imported, sha256 ${result.digest}${below}`);
      if (result.warning !== undefined) this.logToStderr(page(`note: ${result.warning}`, process.stderr));
      return result;
    });
  }
}
