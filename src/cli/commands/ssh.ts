import { Args } from '@oclif/core';
import { login } from '../../services/guest/login.js';
import { BaseCommand } from '../base-command.js';

export default class Ssh extends BaseCommand {
  static override summary = 'Log in to a member, or run one command on its terminal.';
  static override description =
    `With the fleet's own key, to a host key that is known beforehand where the member has a seed. The exit code is that of ssh.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003',
    { description: 'The same', command: '<%= config.bin %> <%= command.id %> lab 3' },
    { description: 'One command', command: '<%= config.bin %> <%= command.id %> lab-003 journalctl -b' },
  ];
  static override enableJsonFlag = false;
  static override strict = false;
  static override args = { member: Args.string({ description: 'name of the member' }) };

  async run(): Promise<void> {
    const { own, command = [] } = this.splitAtHyphens();
    const { argv, flags } = await this.parse(Ssh, own);
    await this.onHost(flags, async (host) => this.exitWith(await login(host, argv as string[], command)), { isWatch: true });
  }
}
