import { wordsOf } from '../../../core/stage-words.js';
import type { ActionVerb, JobView } from '../../protocol.js';
import { plural } from './format.js';
import { countsLine, verbLabels } from './words.js';

/** `Reset 3 members of lab` */
export function jobTitle({ request: { verb, members, fleet } }: Pick<JobView, 'request'>): string {
  return `${verbLabels[verb]} ${plural(members.length, 'member')} of ${fleet}`;
}

const results: Record<JobView['state'], string> = { running: 'running', done: 'done', failed: 'failed', interrupted: 'interrupted' };

/** `2 reset, 1 failed` */
export function jobResult({ state, request, counts, progress }: Pick<JobView, 'state' | 'request' | 'counts' | 'progress'>): string {
  const counted = countsOf(request.verb, counts);
  if (state === 'running')
    return progress === null
      ? 'in progress'
      : `${wordsOf(progress.stage).doing}${progress.total > 0 ? `: ${progress.done} of ${progress.total}` : ''}`;
  return state !== 'interrupted' && counted !== '' ? counted : [results[state], counted].filter((part) => part !== '').join(': ');
}

const order = ['reset', 'restored', 'checkpointed', 'removed', 'stopped', 'started', 'unchanged', 'cancelled', 'failed'];

/** In the order of the command line. That all members that were reset were started, too, is no news. */
function countsOf(verb: ActionVerb, counts: JobView['counts']): string {
  const position = (kind: string): number => (order.includes(kind) ? order.indexOf(kind) : -1);
  const kinds = Object.entries(counts)
    .filter(
      ([kind, count]) => count > 0 && !(verb === 'reset' && kind === 'started' && count === (counts.reset ?? 0) + (counts.restored ?? 0)),
    )
    .sort(([a], [b]) => position(a) - position(b));
  return kinds.length === 0 ? '' : countsLine(Object.fromEntries(kinds));
}
