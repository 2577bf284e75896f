import { Args, Flags } from '@oclif/core';
import type { Target } from '../../core/fleet/selection/targets.js';
import { DisplayStream } from '../../core/guest/text.js';
import { limits } from '../../core/limits.js';
import type { Engine } from '../../services/engine/engine.js';
import type { LogsOptions } from '../../services/guest/logs.js';
import { BaseCommand } from '../base-command.js';
import { LabelledLines } from '../terminal/labelled.js';

export default class Logs extends BaseCommand {
  static override summary = 'Print what members wrote to their serial consoles since their last start.';
  static override description = 'With several members, each line starts with the name of its member.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> lab-003',
    { description: 'Keep printing new output', command: '<%= config.bin %> <%= command.id %> lab-003 --follow' },
    { description: 'The last five lines of all members', command: '<%= config.bin %> <%= command.id %> lab --tail 5' },
  ];
  static override strict = false;
  static override args = {
    fleet: Args.string({ description: 'name of a fleet or a member' }),
    members: Args.string({ description: 'member names, numbers or ranges, such as 1-10,17 [default: all]' }),
  };
  static override flags = {
    file: Flags.string({ description: 'fleet file; applies to all fleets in it', helpValue: 'FLEET.yaml' }),
    tail: Flags.integer({
      char: 'n',
      description: 'print only the last N lines of each member; only the last MiB of its log is read [default: the whole log]',
      helpValue: 'N',
      ...limits.tailLines,
    }),
    raw: Flags.boolean({ description: 'print control characters unchanged, even to a terminal', exclusive: ['json'] }),
    follow: Flags.boolean({ char: 'f', description: 'keep printing new output until Ctrl-C', exclusive: ['json'] }),
  };

  async run() {
    const { argv, flags } = await this.parse(Logs);
    return this.onEngine(
      flags,
      async (engine, { signal }) => {
        const targets = await engine.findTargets(argv as string[], flags.file);
        const { tail, follow, raw } = flags;
        if (this.jsonEnabled()) return this.document(await readAll(engine, { targets, tail, signal }), targets);
        const one = oneMember(targets);
        if (one) {
          // A terminal would interpret control characters; files and programs get the log unchanged.
          const stream = process.stdout.isTTY && !raw ? new DisplayStream() : undefined;
          const onText: LogsOptions['onText'] = (_name, text) => this.logRaw(stream?.push(text) ?? text);
          await engine.logs({ targets, tail, follow, signal, onText });
          this.logRaw(stream?.end() ?? '');
          return undefined;
        }
        const lines = new LabelledLines((line) => (raw ? this.logRaw(`${line}\n`) : this.log(line)), raw);
        await engine.logs({
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

async function readAll(engine: Engine, options: Omit<LogsOptions, 'onText'>): Promise<MemberLog[]> {
  const parts = new Map<string, string[]>();
  const onText: LogsOptions['onText'] = (name, text) => {
    const own = parts.get(name);
    if (own === undefined) parts.set(name, [text]);
    else own.push(text);
  };
  const results = await engine.logs({ ...options, onText });
  return results.map(({ member, truncated }) => ({ member, truncated, console: (parts.get(member) ?? []).join('') }));
}

/** Whether a single member was named, rather than a fleet with one member. */
function oneMember([only, ...others]: readonly Target[]): boolean {
  const [member = '', ...more] = only?.members ?? [];
  return others.length === 0 && more.length === 0 && /^(.+-)?\d+$/.test(member);
}
