import type { ErrorReport } from '../../core/errors.js';
import { formatIndexes } from '../../core/fleet/selection/selection.js';
import type { GuestText } from '../../core/guest/text.js';
import type { CopyOutcome } from '../../services/guest/copy.js';
import type { ExecOutcome, MemberExec } from '../../services/guest/exec.js';
import { plural } from '../terminal/format.js';
import { LabelledLines } from '../terminal/labelled.js';
import { page } from '../terminal/layout.js';
import { paint } from '../terminal/style.js';
import { renderFailures } from './failures.js';

/** Shows the output of a command while it runs. Each line starts with the name of its member. */
export class ExecView {
  readonly #lines: LabelledLines;

  /** @param raw keep control characters */
  constructor(print: (line: string) => void, raw: boolean) {
    this.#lines = new LabelledLines(print, raw);
  }

  readonly onChosen = (names: readonly string[]): void => this.#lines.align(names);

  readonly onOutput = (name: string, stream: 'stdout' | 'stderr', text: GuestText): void => this.#lines.push(name, text, stream);

  readonly onDone = ({ name, exitCode, truncated, error }: MemberExec): void => {
    this.#lines.end(name);
    if (truncated) this.#lines.note(name, '!', 'more output was dropped');
    if (error !== undefined) this.#lines.note(name, '!', error.message);
    if (exitCode !== null && exitCode !== 0) this.#lines.note(name, '!', `exit ${exitCode}`);
  };
}

/** Members with the same output and exit code, under one heading. @param raw keep control characters */
export function renderGrouped(outcomes: readonly ExecOutcome[], raw: boolean): string {
  const groups = new Map<string, { names: Map<string, number[]>; member: MemberExec }>();
  for (const { fleet, members } of outcomes) {
    for (const member of members) {
      const { exitCode, stdout, stderr, truncated, error } = member;
      const key = JSON.stringify([exitCode, stdout, stderr, truncated, error && unnamed(error, member.name)]);
      const group = groups.get(key) ?? { names: new Map<string, number[]>(), member };
      groups.set(key, group);
      group.names.set(fleet, [...(group.names.get(fleet) ?? []), member.index]);
    }
  }
  return [...groups.values()]
    .map(({ names, member }) => {
      const count = [...names.values()].reduce((sum, indexes) => sum + indexes.length, 0);
      const heading = [...names].map(([fleet, indexes]) => `${fleet} ${formatIndexes(indexes)}`).join(', ');
      const lines: string[] = [];
      const view = new ExecView((line) => lines.push(` ${line}`), raw);
      view.onOutput('', 'stdout', member.stdout);
      view.onOutput('', 'stderr', member.stderr);
      const { error } = member;
      view.onDone({ ...member, name: '', ...(error === undefined ? {} : { error: unnamed(error, member.name) }) });
      return [`${heading} (${plural(count, 'member')})`, ...lines].join('\n');
    })
    .join('\n');
}

/** Makes messages that differ only in the member's name equal. */
function unnamed(error: ErrorReport, name: string): ErrorReport {
  return { code: error.code, message: error.message.replaceAll(name, 'MEMBER') };
}

export function renderExecSummary({ fleet, counts, members }: ExecOutcome): string {
  if (counts.failed === 0) return `${fleet}: ${plural(counts.ok, 'member')} ok`;
  const hints = new Set(members.flatMap((member) => (member.error?.hint === undefined ? [] : [member.error.hint])));
  const lines = [`${fleet}: ${counts.ok} ok, ${counts.failed} failed`, ...[...hints].slice(0, 3).map((hint) => `  → ${hint}`)];
  return page(lines.join('\n'), process.stderr);
}

export function renderCopy({ fleet, direction, counts, members }: CopyOutcome): string {
  const lines = [
    `${fleet}: ${direction === 'to' ? 'copied to' : 'copied from'} ${plural(counts.ok, 'member')}${counts.failed > 0 ? `, ${paint('bad', `${counts.failed} failed`)}` : ''}`,
  ];
  for (const { name, path, via, ok } of members) {
    if (ok && direction === 'from') lines.push(`  ${name}: ${path} (${via})`);
  }
  lines.push(...renderFailures(members.filter(({ ok }) => !ok)));
  return page(lines.join('\n'));
}
