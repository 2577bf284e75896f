import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { renderBase } from '../../render/bases.js';

export default class BaseInspect extends BaseCommand {
  static override summary = 'Show one base image: its origin, its size, and the fleets that use it.';
  static override examples = ['<%= config.bin %> <%= command.id %> golden', '<%= config.bin %> <%= command.id %> golden@1a2b3c4d5e6f'];
  static override args = { base: Args.string({ description: 'NAME, NAME@DIGEST or a digest', required: true }) };

  async run() {
    const { args, flags } = await this.parse(BaseInspect);
    return this.onEngine(
      flags,
      async ({ bases }) => {
        const base = await bases.inspect(args.base);
        this.log(renderBase(base));
        return base;
      },
      { isReader: true },
    );
  }
}
