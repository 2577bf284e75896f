import { Args } from '@oclif/core';
import { history } from '../../../services/base/history.js';
import { BaseCommand } from '../../base-command.js';
import { renderHistory } from '../../render/bases.js';

export default class BaseHistory extends BaseCommand {
  static override summary = 'Show which base image was promoted from which.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> golden'];
  static override args = { base: Args.string({ description: 'NAME, NAME@DIGEST or a digest [default: all]' }) };

  async run() {
    const { args, flags } = await this.parse(BaseHistory);
    return this.onHost(
      flags,
      async (host) => {
        const result = await history(host, args.base);
        this.log(renderHistory(result));
        return result;
      },
      { isReader: true },
    );
  }
}
