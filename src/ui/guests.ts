import { displayText, type GuestText, linesOf } from '../core/guest/text.js';
import type { CopyOutcome } from '../services/copy.js';
import type { ExecOutcome, MemberExec } from '../services/exec.js';
import { renderFailures } from './failures.js';
import { plural } from './format.js';
import { page } from './layout.js';
import { paint } from './style.js';

/** Every line behind the name of the member that wrote it. A carriage return begins a line, too: it must not overwrite the name. */
function labelled(name: string, width: number, text: GuestText, raw: boolean): string {
  return linesOf(raw ? text : displayText(text))
    .map((line) => `${name.padEnd(width)} | ${line}`)
    .join('\n');
}

export const renderExec = {
  /** @param raw leave control characters in */
  outputs({ members }: ExecOutcome, raw: boolean): string {
    const width = Math.max(0, ...members.map((member) => member.name.length));
    return members
      .flatMap(({ name, stdout, stderr, exitCode, truncated, error }: MemberExec) => [
        ...(stdout === '' ? [] : [labelled(name, width, stdout, raw)]),
        ...(stderr === '' ? [] : [labelled(name, width, stderr, raw)]),
        ...(truncated ? [`${name.padEnd(width)} ! more output was dropped`] : []),
        ...(error === undefined ? [] : [`${name.padEnd(width)} ! ${error.message}`]),
        ...(exitCode === null || exitCode === 0 ? [] : [`${name.padEnd(width)} ! exit ${exitCode}`]),
      ])
      .join('\n');
  },
  summary({ fleet, counts, members }: ExecOutcome): string {
    if (counts.failed === 0) return `${fleet}: ${plural(counts.ok, 'member')} ok`;
    const hints = new Set(members.flatMap((member) => (member.error?.hint === undefined ? [] : [member.error.hint])));
    const lines = [`${fleet}: ${counts.ok} ok, ${counts.failed} failed`, ...[...hints].slice(0, 3).map((hint) => `  → ${hint}`)];
    return page(lines.join('\n'), process.stderr);
  },
};

export function renderCopy({ fleet, direction, counts, members }: CopyOutcome): string {
  const lines = [
    `${fleet}: ${direction === 'to' ? 'copied to' : 'fetched from'} ${plural(counts.ok, 'member')}${counts.failed > 0 ? `, ${paint('bad', `${counts.failed} failed`)}` : ''}`,
  ];
  for (const { name, path, via, ok } of members) {
    if (ok && direction === 'from') lines.push(`  ${name}: ${path} (${via})`);
  }
  lines.push(...renderFailures(members.filter(({ ok }) => !ok)));
  return page(lines.join('\n'));
}
