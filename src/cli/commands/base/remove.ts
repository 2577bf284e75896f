import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { bytes } from '../../terminal/format.js';

export default class BaseRemove extends BaseCommand {
  static override summary = 'Remove a base image that no fleet uses.';
  static override examples = ['<%= config.bin %> <%= command.id %> golden'];
  static override args = { base: Args.string({ description: 'NAME, NAME@DIGEST or a digest', required: true }) };

  async run() {
    const { args, flags } = await this.parse(BaseRemove);
    return this.onEngine(flags, async ({ bases }, options) => {
      const result = await bases.remove(args.base, options);
      this.tell(`${result.name}: removed, ${bytes(result.freedBytes)} freed`);
      return result;
    });
  }
}
