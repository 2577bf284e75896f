import { displayText, type GuestText, linesOf } from '../core/guest/text.js';
import type { CopyOutcome } from '../services/copy.js';
import type { ExecOutcome, MemberExec } from '../services/exec.js';
import { plural } from './format.js';

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
    return lines.join('\n');
  },
};

export function renderCopy({ fleet, direction, counts, members }: CopyOutcome): string {
  const lines = [
    `${fleet}: ${direction === 'to' ? 'copied to' : 'fetched from'} ${plural(counts.ok, 'member')}${counts.failed > 0 ? `, ${counts.failed} failed` : ''}`,
  ];
  for (const { name, path, via, ok, error } of members) {
    if (!ok) lines.push(`  ${name} ! ${error?.message ?? 'no reason given'}`);
    else if (direction === 'from') lines.push(`  ${name}: ${path} (${via})`);
  }
  const hints = new Set(members.flatMap((member) => (member.error?.hint === undefined ? [] : [member.error.hint])));
  for (const hint of [...hints].slice(0, 3)) lines.push(`  → ${hint}`);
  return lines.join('\n');
}
