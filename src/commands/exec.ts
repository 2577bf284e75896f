import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { CowherdError } from '../core/errors.js';
import { concurrencyFlags, timeoutFlag } from '../flags.js';
import { type ExecOutcome, exec, exitCodeOfExec } from '../services/exec.js';
import { transports } from '../services/guest-run.js';
import { renderExec } from '../ui/guests.js';

export default class Exec extends BaseCommand {
  static override summary = 'Run a command in many guests at once, by their agents or by ssh.';
  static override description =
    `A program and its arguments run as they are; a single word with blanks is a line for the guest's shell. The agent needs no
network and no keys. Exit code 4 where it failed in some.`;
  static override examples = [
    { description: 'In all of them', command: '<%= config.bin %> <%= command.id %> lab -- hostname' },
    { description: 'In some, by a shell', command: `<%= config.bin %> <%= command.id %> lab 1-3 -- 'df -h / | tail -1'` },
    { description: 'By ssh, as a document', command: '<%= config.bin %> <%= command.id %> lab --via ssh --json -- uptime' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    via: Flags.option({ description: 'how: the agent where one answers, else ssh', options: transports, default: 'auto' })(),
    ...timeoutFlag('how long the command may take in each guest [default: 60s]'),
    raw: Flags.boolean({ description: 'print output as it came, with control characters', exclusive: ['json'] }),
    concurrency: concurrencyFlags.concurrency,
  };

  async run(): Promise<ExecOutcome> {
    const { own, command } = this.splitAtHyphens();
    if (command === undefined) {
      throw new CowherdError('BAD_USAGE', 'No command given', { hint: 'Put it after two hyphens: cowherd exec lab -- uname -a' });
    }
    const { argv, flags } = await this.parse(Exec, own);
    return this.onHost(flags, async (host, work) => {
      const { fleets, members } = await this.targets(host, argv as string[], undefined);
      const [fleet] = fleets;
      if (fleet === undefined || fleets.length > 1)
        throw new CowherdError('BAD_USAGE', `exec is about one fleet, not ${fleets.join(' and ')}`, { hint: 'Run it for each by itself.' });
      const outcome = await exec(host, { ...work, fleet, members, command, via: flags.via, timeoutMs: flags.timeout });
      this.logToStderr(renderExec.summary(outcome));
      const text = renderExec.outputs(outcome, flags.raw);
      if (text !== '' && flags.raw) this.logRaw(`${text}\n`);
      else if (text !== '') this.log(text);
      this.exitWith(exitCodeOfExec(outcome));
      return outcome;
    });
  }
}
