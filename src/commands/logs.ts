import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { logs } from '../services/logs.js';

export default class Logs extends BaseCommand {
  static override summary = "Print a member's serial console since its last start.";
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003',
    { description: 'And what comes', command: '<%= config.bin %> <%= command.id %> lab-003 --follow' },
  ];
  static override strict = false;
  static override args = { member: Args.string({ description: 'name of the member' }) };
  static override flags = {
    follow: Flags.boolean({ char: 'f', description: 'go on until Ctrl-C', exclusive: ['json'] }),
  };

  async run() {
    const { argv, flags } = await this.parse(Logs);
    return this.onHost(
      flags,
      async (host, { signal }) => {
        const parts: string[] = [];
        const onText = (text: string): void => {
          if (this.jsonEnabled()) parts.push(text);
          else process.stdout.write(text);
        };
        const { member } = await logs(host, { words: argv as string[], follow: flags.follow, signal, onText });
        return { member, console: parts.join('') };
      },
      { isWatch: flags.follow },
    );
  }
}
