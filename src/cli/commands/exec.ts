import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import { type ExecOutcome, exitCodeOfExec } from '../../services/guest/exec.js';
import { transports } from '../../services/guest/run.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, fileFlag, timeoutFlag } from '../flags/run.js';
import { ExecView, renderExecSummary, renderGrouped } from '../render/guests.js';
import { readStdin } from '../stdin.js';

export default class Exec extends BaseCommand {
  static override summary = 'Run a command in many guests, through the guest agent or ssh.';
  static override description = [
    "Several arguments are run as a program, without a shell. A single argument that contains spaces or shell characters, such as 'echo $HOME', is run by the guest's shell.",
    'The agent needs no network and no keys.',
    'The exit code is 4 if the command failed in any guest. At most 1 MiB of standard output and of standard error is kept per member; the rest is dropped.\n\nEach line of output starts with the name of its member.',
    'ssh shows output line by line; the agent shows it when the command has ended.',
  ].join(' ');
  static override examples = [
    { description: 'In all members', command: '<%= config.bin %> <%= command.id %> lab -- hostname' },
    { description: 'In some members, through a shell', command: `<%= config.bin %> <%= command.id %> lab 1-3 -- 'df -h / | tail -1'` },
    {
      description: 'In two fleets, with identical output shown once',
      command: '<%= config.bin %> <%= command.id %> web db --group -- uname -r',
    },
    { description: 'A script from this host', command: '<%= config.bin %> <%= command.id %> lab --stdin -- sh < setup.sh' },
    { description: 'Through ssh, with JSON output', command: '<%= config.bin %> <%= command.id %> lab --via ssh --json -- uptime' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of one or more fleets; required unless --file is given' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    group: Flags.boolean({ description: 'wait for all members, then show identical output once with the members that printed it' }),
    stdin: Flags.boolean({
      description: 'pass standard input to the command in each guest: up to 1 MiB through ssh, 64 KiB through the agent',
    }),
    via: Flags.option({
      description: 'transport; auto uses the agent if it answers, otherwise ssh',
      options: transports,
      default: 'auto',
    })(),
    ...timeoutFlag('time limit for the command in each guest [default: 60s]'),
    raw: Flags.boolean({ description: 'print output unchanged, including control characters', exclusive: ['json'] }),
    concurrency: concurrencyFlags.concurrency,
  };

  async run(): Promise<ExecOutcome | { fleets: ExecOutcome[] }> {
    const { own, command } = this.splitAtHyphens();
    if (command === undefined) {
      throw new CowherdError('BAD_USAGE', 'No command given', { hint: 'Put the command after two hyphens: cowherd exec lab -- uname -a' });
    }
    const { argv, flags } = await this.parse(Exec, own);
    const input = flags.stdin ? await readStdin() : undefined;
    const print = (line: string): void => (flags.raw ? this.logRaw(`${line}\n`) : this.log(line));
    const isLive = !this.jsonEnabled() && !flags.group;
    return this.onEngine(flags, async (engine, work) => {
      const outcomes = await engine.exec({
        ...work,
        // Output lines and a progress bar would overwrite each other.
        ...(isLive ? { ...new ExecView(print, flags.raw), onProgress: undefined } : {}),
        targets: await engine.findTargets(argv as string[], flags.file),
        command,
        via: flags.via,
        timeoutMs: flags.timeout,
        input,
      });
      if (flags.group) print(renderGrouped(outcomes, flags.raw));
      for (const outcome of outcomes) {
        this.logToStderr(renderExecSummary(outcome));
        this.exitWith(exitCodeOfExec(outcome));
      }
      const [only, ...others] = outcomes;
      return only !== undefined && others.length === 0 ? only : { fleets: outcomes };
    });
  }
}
