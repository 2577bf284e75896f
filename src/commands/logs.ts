import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { DisplayStream, type GuestText } from '../core/guest/text.js';
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
    raw: Flags.boolean({ description: 'print it as it came to a terminal, too, with control characters', exclusive: ['json'] }),
    follow: Flags.boolean({ char: 'f', description: 'go on until Ctrl-C', exclusive: ['json'] }),
  };

  async run() {
    const { argv, flags } = await this.parse(Logs);
    return this.onHost(
      flags,
      async (host, { signal }) => {
        const parts: string[] = [];
        // To a file or a program the log goes as it is; a terminal would obey it.
        const stream = process.stdout.isTTY && !flags.raw ? new DisplayStream() : undefined;
        const onText = (text: GuestText): void => {
          if (this.jsonEnabled()) parts.push(text);
          else this.logRaw(stream?.push(text) ?? text);
        };
        const { member, truncated } = await logs(host, { words: argv as string[], follow: flags.follow, signal, onText });
        this.logRaw(stream?.end() ?? '');
        return { member, truncated, console: parts.join('') };
      },
      { isWatch: flags.follow },
    );
  }
}
