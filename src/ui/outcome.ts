import type { Outcome } from '../core/outcome.js';
import { formatIndexes } from '../core/selection.js';
import { bytes, countsLine, plural, seconds } from './format.js';

const maxShown = 20;

/** The result of a verb for people. */
export function renderOutcome(outcome: Outcome): string {
  if (outcome.plan !== undefined) return renderPlan(outcome);
  const { fleet, operation, counts, stages, members, notes, freedBytes } = outcome;
  const lines: string[] = [];
  const all = Object.fromEntries(Object.entries(counts).sort(([a], [b]) => order(a) - order(b)));
  lines.push(
    `${fleet}: ${countsLine(all)} in ${seconds(operation.seconds)}${freedBytes === undefined ? '' : `, ${bytes(freedBytes)} freed`}`,
  );
  const told = stages.filter((stage) => stage.seconds >= 0.1);
  if (told.length > 0)
    lines.push(
      `  ${told.map(({ name, seconds: time, count }) => `${name} ${seconds(time)}${count > 1 ? ` (${count})` : ''}`).join(' · ')}`,
    );
  for (const note of notes) lines.push(`  note: ${note}`);

  const failed = members.filter((member) => member.outcome === 'failed');
  if (failed.length > 0) {
    lines.push('', `${plural(failed.length, 'member')} failed:`);
    for (const { name, step, error } of failed.slice(0, maxShown)) {
      lines.push(`  ${name}${step === undefined ? '' : ` (${step})`}: ${error?.message ?? 'no reason given'}`);
      for (const detail of error?.details ?? []) lines.push(`      ${detail}`);
    }
    if (failed.length > maxShown) lines.push(`  … and ${failed.length - maxShown} more: see --json`);
    const hints = new Set(failed.flatMap((member) => (member.error?.hint === undefined ? [] : [member.error.hint])));
    for (const hint of [...hints].slice(0, 3)) lines.push(`  → ${hint}`);
  }
  const left = members.filter((member) => member.outcome === 'cancelled').length;
  if (operation.interrupted && left === 0) lines.push('', 'Interrupted: every member is done, but not every one was waited for.');
  if (left > 0) {
    const next = ['start', 'stop'].includes(operation.verb) ? `cowherd ${operation.verb} ${fleet}` : `cowherd resume ${fleet}`;
    lines.push('', `Interrupted: ${plural(left, 'member')} not done. Finish it with: ${next}`);
  }
  return lines.join('\n');
}

/** As {@link renderOutcome}, of a resume that may have had nothing to do. */
export function renderResumed(outcome: Outcome): string {
  return outcome.operation.verb === 'resume' ? `${outcome.fleet}: nothing to resume` : renderOutcome(outcome);
}

function renderPlan({ fleet, operation, plan, notes }: Outcome): string {
  if (plan === undefined) return '';
  const lines = [`${fleet}: what ${operation.verb} would do`];
  const groups = new Map<string, number[]>();
  for (const { index, steps, why, atNextStart } of plan.members) {
    const what = `${steps.join(', ')}  (${why}${atNextStart ? '; takes effect at the next start' : ''})`;
    const group = groups.get(what);
    if (group === undefined) groups.set(what, [index]);
    else group.push(index);
  }
  for (const [what, indexes] of groups) lines.push(`  ${plural(indexes.length, 'member')} ${formatIndexes(indexes)}: ${what}`);
  if (plan.unchanged.length > 0) lines.push(`  ${plural(plan.unchanged.length, 'member')} unchanged`);
  for (const { name, reason, hint } of plan.refused) lines.push(`  ${name} is left alone: ${reason}. ${hint}`);
  for (const note of notes) lines.push(`  note: ${note}`);
  lines.push('No domain, overlay or fleet was changed.');
  return lines.join('\n');
}

const kinds = [
  'created',
  'redefined',
  'reset',
  'rebased',
  'rewound',
  'checkpointed',
  'dropped',
  'removed',
  'stopped',
  'started',
  'unchanged',
  'cancelled',
  'failed',
];

function order(kind: string): number {
  const position = kinds.indexOf(kind);
  return position < 0 ? kinds.length : position;
}
