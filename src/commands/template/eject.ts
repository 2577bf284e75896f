import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { ejectTemplate } from '../../services/templates.js';

export default class TemplateEject extends BaseCommand {
  static override summary = 'Write the built-in domain template to a file, to edit it and use it with --template.';
  static override examples = ['<%= config.bin %> <%= command.id %> domain.xml.hbs'];
  static override args = { file: Args.string({ description: 'where to; must not exist yet', default: 'domain.xml.hbs' }) };

  async run() {
    const { args, flags } = await this.parse(TemplateEject);
    return this.onHost(flags, async (host) => {
      await ejectTemplate(host, args.file);
      this.log(`${args.file}: edit it, then try it with "cowherd template render FLEET --template ${args.file}"`);
      return { file: args.file };
    });
  }
}
