import type { Outcome } from '../../core/fleet/outcome.js';
import { formatIndexes } from '../../core/fleet/selection/selection.js';
import { failureWord, stageWord } from '../../core/stage-words.js';
import { bytes, plural, seconds } from '../terminal/format.js';
import { page } from '../terminal/layout.js';
import { withFlags } from '../terminal/repeated-flags.js';
import { paint } from '../terminal/style.js';
import { renderRefusal } from './dry-run.js';
import { renderFailures } from './failures.js';

/** The result of a command as text. */
export function renderOutcome(outcome: Outcome): string {
  if (outcome.plan !== undefined) return renderPlan(outcome);
  const { fleet, operation, stages, members, notes, freedBytes } = outcome;
  const lines: string[] = [];
  lines.push(
    `${fleet}: ${happened(outcome)} in ${seconds(operation.seconds)}${freedBytes === undefined ? '' : `, ${bytes(freedBytes)} freed`}`,
  );
  const told = stages.filter((stage) => stage.seconds >= 0.1);
  if (told.length > 0)
    lines.push(
      `  ${told.map(({ name, seconds: time, count }) => `${stageWord(name)} ${seconds(time)}${count > 1 ? ` (${count})` : ''}`).join(' · ')}`,
    );
  for (const note of notes) lines.push(`  note: ${note}`);

  const failed = members.filter((member) => member.outcome === 'failed');
  if (failed.length > 0) {
    lines.push('', paint('bad', `${plural(failed.length, 'member')} failed:`));
    lines.push(
      ...renderFailures(failed.map(({ name, step, error }) => ({ name, doing: step === undefined ? step : stageWord(step), error }))),
    );
  }
  const left = members.filter((member) => member.outcome === 'cancelled').length;
  if (operation.interrupted && left === 0) lines.push('', 'Interrupted: all members are done; readiness was not confirmed.');
  if (left > 0) {
    const next = ['start', 'stop'].includes(operation.verb) ? `cowherd ${operation.verb} ${fleet}` : `cowherd resume ${fleet}`;
    lines.push('', `Interrupted: ${plural(left, 'member')} not done. Finish it with: ${paint('strong', withFlags(next))}`);
  }
  return page(lines.join('\n'));
}

const words: Record<string, string> = { cancelled: 'not done' };

/** `3 reset, 3 failed to start`: the results of the members, and the steps that failed. */
function happened({ operation, counts, members }: Outcome): string {
  const kinds = new Map<string, number>();
  const count = (kind: string): void => void kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  for (const { outcome, became } of members) if ((became ?? outcome) !== 'failed') count(became ?? outcome);
  // If some failed to start, the others obviously started.
  const isTold = operation.verb === 'reset' && counts.failed > 0 && counts.started === kinds.get('reset');
  if (counts.started > 0 && !isTold) kinds.set('started', counts.started);
  const failures = new Map<string, number>();
  for (const { outcome, step } of members)
    if (outcome === 'failed') failures.set(failureWord(step), (failures.get(failureWord(step)) ?? 0) + 1);
  const parts = [
    ...[...kinds].sort(([a], [b]) => order(a) - order(b)).map(([kind, number]) => `${number} ${words[kind] ?? kind}`),
    ...[...failures].map(([word, number]) => paint('bad', `${number} ${word}`)),
  ];
  return parts.length === 0 ? 'nothing to do' : parts.join(', ');
}

/** Like {@link renderOutcome}, for a resume that may have had nothing to do. */
export function renderResumed(outcome: Outcome): string {
  return outcome.operation.verb === 'resume' ? `${outcome.fleet}: nothing to resume` : renderOutcome(outcome);
}

function renderPlan({ fleet, operation, plan, notes, refusal }: Outcome): string {
  if (plan === undefined) return '';
  const lines = [`${fleet}: what ${operation.verb} would do`];
  const groups = new Map<string, number[]>();
  for (const { index, steps, why, atNextStart } of plan.members) {
    const what = `${steps.map(stageWord).join(', ')}  (${why}${atNextStart ? '; takes effect at the next start' : ''})`;
    const group = groups.get(what);
    if (group === undefined) groups.set(what, [index]);
    else group.push(index);
  }
  for (const [what, indexes] of groups) lines.push(`  ${plural(indexes.length, 'member')} ${formatIndexes(indexes)}: ${what}`);
  if (plan.unchanged.length > 0) lines.push(`  ${plural(plan.unchanged.length, 'member')} unchanged`);
  for (const { name, reason, hint } of plan.refused) lines.push(`  ${name} will be skipped: ${reason}. ${hint}`);
  for (const note of notes) lines.push(`  note: ${note}`);
  if (refusal !== undefined) lines.push(...renderRefusal(refusal));
  lines.push('This was a dry run: nothing was changed.');
  return page(lines.join('\n'));
}

const kinds = [
  'created',
  'redefined',
  'reset',
  'rebased',
  'restored',
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
