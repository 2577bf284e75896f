import { Args, Flags } from '@oclif/core';
import type { Target } from '../../core/fleet/targets.js';
import { DisplayStream } from '../../core/guest/text.js';
import { limits } from '../../core/limits.js';
import { type LogsOptions, logs } from '../../services/guest/logs.js';
import { BaseCommand } from '../base-command.js';
import { LabelledLines } from '../terminal/labelled.js';

export default class Logs extends BaseCommand {
  static override summary = 'Print the serial consoles of members since their last start.';
  static override description = `Of several members, each line stands behind the name of its member.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003',
    { description: 'And what comes', command: '<%= config.bin %> <%= command.id %> lab-003 --follow' },
    { description: 'The last five lines of all members', command: '<%= config.bin %> <%= command.id %> lab --tail 5' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of the fleet, or of a member' }),
    members: Args.string({ description: 'names, numbers or ranges: 1-10,17 [default: all]' }),
  };
  static override flags = {
    file: Flags.string({ description: 'a fleet file; the verb is about all fleets in it', helpValue: 'FLEET.yaml' }),
    tail: Flags.integer({ char: 'n', description: 'only the last lines of each member, of its last MiB', ...limits.tailLines }),
    raw: Flags.boolean({ description: 'print it as it came to a terminal, too, with control characters', exclusive: ['json'] }),
    follow: Flags.boolean({ char: 'f', description: 'go on until Ctrl-C', exclusive: ['json'] }),
  };

  async run() {
    const { argv, flags } = await this.parse(Logs);
    return this.onHost(
      flags,
      async (host, { signal }) => {
        const targets = await this.targets(host, argv as string[], flags.file);
        const { tail, follow, raw } = flags;
        if (this.jsonEnabled()) return this.document(await readAll(host, { targets, tail, signal }), targets);
        const one = oneMember(targets);
        if (one) {
          // To a file or a program the log goes as it is; a terminal would obey it.
          const stream = process.stdout.isTTY && !raw ? new DisplayStream() : undefined;
          const onText: LogsOptions['onText'] = (_name, text) => this.logRaw(stream?.push(text) ?? text);
          await logs(host, { targets, tail, follow, signal, onText });
          this.logRaw(stream?.end() ?? '');
          return undefined;
        }
        const lines = new LabelledLines((line) => (raw ? this.logRaw(`${line}\n`) : this.log(line)), raw);
        await logs(host, {
          ...{ targets, tail, follow, signal },
          onChosen: (names) => lines.align(names),
          onText: (name, text) => lines.push(name, text),
          onEnd: (name) => lines.end(name),
        });
        return undefined;
      },
      { isWatch: flags.follow },
    );
  }

  private document(members: MemberLog[], targets: readonly Target[]): MemberLog | { members: MemberLog[] } | undefined {
    return oneMember(targets) ? members[0] : { members };
  }
}

interface MemberLog {
  member: string;
  truncated: boolean;
  console: string;
}

async function readAll(host: Parameters<typeof logs>[0], options: Omit<LogsOptions, 'onText'>): Promise<MemberLog[]> {
  const parts = new Map<string, string[]>();
  const onText: LogsOptions['onText'] = (name, text) => {
    const own = parts.get(name);
    if (own === undefined) parts.set(name, [text]);
    else own.push(text);
  };
  const results = await logs(host, { ...options, onText });
  return results.map(({ member, truncated }) => ({ member, truncated, console: (parts.get(member) ?? []).join('') }));
}

/** Whether a single member was named, not a fleet that happens to have one. */
function oneMember([only, ...others]: readonly Target[]): boolean {
  const [member = '', ...more] = only?.members ?? [];
  return others.length === 0 && more.length === 0 && /^(.+-)?\d+$/.test(member);
}
