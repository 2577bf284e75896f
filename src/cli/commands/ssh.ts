import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';

export default class Ssh extends BaseCommand {
  static override summary = 'Log in to a member with ssh, or run one command in it.';
  static override description =
    "Uses the fleet's own key. If the member has a seed, its host key is known in advance. The exit code is that of ssh.";
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003',
    { description: 'The same', command: '<%= config.bin %> <%= command.id %> lab 3' },
    { description: 'Run one command', command: '<%= config.bin %> <%= command.id %> lab-003 journalctl -b' },
  ];
  static override enableJsonFlag = false;
  static override strict = false;
  static override args = {
    member: Args.string({ description: 'name of the member (lab-003), or fleet and number (lab 3)', required: true }),
  };

  async run(): Promise<void> {
    const { own, command = [] } = this.splitAtHyphens();
    const { argv, flags } = await this.parse(Ssh, own);
    await this.onEngine(flags, async (engine) => this.exitWith(await engine.login(argv as string[], command)), { isWatch: true });
  }
}
