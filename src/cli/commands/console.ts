import { Args } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import type { Host } from '../../host.js';
import { openConsole } from '../../services/guest/login.js';
import { BaseCommand } from '../base-command.js';
import { isTerminal } from '../terminal/confirm.js';

export default class Console extends BaseCommand {
  static override summary = "Connect to a member's serial console; press Ctrl-] to leave.";
  static override examples = ['<%= config.bin %> <%= command.id %> lab-003'];
  static override enableJsonFlag = false;
  static override strict = false;
  static override args = {
    member: Args.string({ description: 'name of the member (lab-003), or fleet and number (lab 3)', required: true }),
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Console);
    const open = async (host: Host): Promise<void> => {
      if (!isTerminal())
        throw new CowherdError('BAD_USAGE', 'A console needs a terminal', {
          hint: 'To read its output instead: cowherd logs FLEET MEMBER',
        });
      this.exitWith(await openConsole(host, argv as string[]));
    };
    await this.onHost(flags, open, { isWatch: true });
  }
}
