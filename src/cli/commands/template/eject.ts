import { Args, Flags } from '@oclif/core';
import { shellWord } from '../../../core/quoting.js';
import { ejectTemplate } from '../../../services/fleet/spawn/input/templates.js';
import { BaseCommand } from '../../base-command.js';

/** The default file name, and the flag that takes the file. */
const parts = {
  domain: { file: 'domain.xml.hbs', flag: '--template' },
  'user-data': { file: 'user-data.hbs', flag: '--user-data' },
  'meta-data': { file: 'meta-data.hbs', flag: '--meta-data' },
} as const;
type Part = keyof typeof parts;

export default class TemplateEject extends BaseCommand {
  static override summary = 'Write a built-in template to a file so that you can edit it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> domain.xml.hbs',
    { description: 'The cloud-init user-data', command: '<%= config.bin %> <%= command.id %> --part user-data' },
  ];
  static override args = {
    file: Args.string({ description: 'file to write; must not exist yet [default: domain.xml.hbs, user-data.hbs or meta-data.hbs]' }),
  };
  static override flags = {
    part: Flags.option({ description: 'template to write', options: Object.keys(parts) as Part[], default: 'domain' as Part })(),
  };

  async run() {
    const { args, flags } = await this.parse(TemplateEject);
    const part = parts[flags.part];
    const file = args.file ?? part.file;
    return this.onHost(flags, async (host) => {
      await ejectTemplate(host, file, flags.part);
      this.tell(`${file}: written. Edit it, then use it with "cowherd spawn FLEET ${part.flag} ${shellWord(file)}"`);
      return { file };
    });
  }
}
