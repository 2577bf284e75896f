import { Args } from '@oclif/core';
import { inspectBase } from '../../../services/base/bases.js';
import { BaseCommand } from '../../base-command.js';
import { renderBase } from '../../render/bases.js';

export default class BaseInspect extends BaseCommand {
  static override summary = 'Show one base image: its origin, its size, and the fleets that use it.';
  static override examples = ['<%= config.bin %> <%= command.id %> golden', '<%= config.bin %> <%= command.id %> golden@1a2b3c4d5e6f'];
  static override args = { base: Args.string({ description: 'NAME, NAME@DIGEST or a digest', required: true }) };

  async run() {
    const { args, flags } = await this.parse(BaseInspect);
    return this.onHost(
      flags,
      async (host) => {
        const base = await inspectBase(host, args.base);
        this.log(renderBase(base));
        return base;
      },
      { isReader: true },
    );
  }
}
