import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { completionScripts } from '../completion/scripts.js';

export default class Completion extends BaseCommand {
  static override summary = 'Print a shell completion script.';
  static override description = [
    'Completes commands, flags, fleets, members, base images and networks.',
    'Put the line for your shell into its start-up file: ~/.bashrc, ~/.zshrc, or ~/.config/fish/config.fish.',
  ].join(' ');
  static override examples = [
    { description: 'bash', command: 'source <(<%= config.bin %> <%= command.id %> bash)' },
    { description: 'zsh, after compinit', command: 'source <(<%= config.bin %> <%= command.id %> zsh)' },
    { description: 'fish', command: '<%= config.bin %> <%= command.id %> fish | source' },
  ];
  static override args = { shell: Args.string({ description: 'the shell', options: ['bash', 'zsh', 'fish'], required: true }) };

  async run() {
    const { args } = await this.parse(Completion);
    const script = completionScripts[args.shell as keyof typeof completionScripts];
    if (!this.jsonEnabled()) this.logRaw(script);
    return { shell: args.shell, script };
  }
}
