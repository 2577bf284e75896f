import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import { type ExecOutcome, execInFleets, exitCodeOfExec } from '../../services/guest/exec.js';
import { transports } from '../../services/guest/run.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, fileFlag, timeoutFlag } from '../flags/run.js';
import { ExecView, renderExecSummary, renderGrouped } from '../render/guests.js';
import { readStdin } from '../stdin.js';

export default class Exec extends BaseCommand {
  static override summary = 'Run a command in many guests at once, by their agents or by ssh.';
  static override description =
    `A program and its arguments run as they are; a single word with blanks is a line for the guest's shell. The agent needs no
network and no keys. Exit code 4 where it failed in some.

Output is shown as it comes, behind the name of its member: by ssh line by line, by an agent when the command has ended.`;
  static override examples = [
    { description: 'In all of them', command: '<%= config.bin %> <%= command.id %> lab -- hostname' },
    { description: 'In some, by a shell', command: `<%= config.bin %> <%= command.id %> lab 1-3 -- 'df -h / | tail -1'` },
    {
      description: 'In two fleets, with the same output shown once',
      command: '<%= config.bin %> <%= command.id %> web db --group -- uname -r',
    },
    { description: 'A script of this host', command: '<%= config.bin %> <%= command.id %> lab --stdin -- sh < setup.sh' },
    { description: 'By ssh, as a document', command: '<%= config.bin %> <%= command.id %> lab --via ssh --json -- uptime' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    ...fileFlag,
    group: Flags.boolean({ description: 'when all are done, show output that is the same once, with the members that it is of' }),
    stdin: Flags.boolean({
      description: 'give what comes on standard input to the command in each guest: up to 1 MiB by ssh, 64 KiB by an agent',
    }),
    via: Flags.option({ description: 'how: the agent where one answers, else ssh', options: transports, default: 'auto' })(),
    ...timeoutFlag('how long the command may take in each guest [default: 60s]'),
    raw: Flags.boolean({ description: 'print output as it came, with control characters', exclusive: ['json'] }),
    concurrency: concurrencyFlags.concurrency,
  };

  async run(): Promise<ExecOutcome | { fleets: ExecOutcome[] }> {
    const { own, command } = this.splitAtHyphens();
    if (command === undefined) {
      throw new CowherdError('BAD_USAGE', 'No command given', { hint: 'Put it after two hyphens: cowherd exec lab -- uname -a' });
    }
    const { argv, flags } = await this.parse(Exec, own);
    const input = flags.stdin ? await readStdin() : undefined;
    const print = (line: string): void => (flags.raw ? this.logRaw(`${line}\n`) : this.log(line));
    const isLive = !this.jsonEnabled() && !flags.group;
    return this.onHost(flags, async (host, work) => {
      const outcomes = await execInFleets(host, {
        ...work,
        // Lines of output and a progress bar would write over each other.
        ...(isLive ? { ...new ExecView(print, flags.raw), onProgress: undefined } : {}),
        targets: await this.targets(host, argv as string[], flags.file),
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
