import { stateWord } from '../../../core/events/event-text.js';
import type { MemberState } from '../../../core/fleet/observation.js';
import type { ActionVerb, FleetView, MemberView } from '../../protocol.js';
import { plural } from './format.js';

/** The words of the page for what the protocol names. */

export const states: readonly MemberState[] = ['running', 'shutOff', 'paused', 'broken', 'missing'];

/** What a cell shows besides its color. */
export const stateLetters: Record<MemberState, string> = { running: 'R', shutOff: 'O', paused: 'P', broken: '!', missing: '?' };

export function countStates(members: readonly MemberView[]): Record<MemberState, number> {
  const counts = { running: 0, shutOff: 0, paused: 0, broken: 0, missing: 0 };
  for (const { state } of members) counts[state] += 1;
  return counts;
}

/** `3 running, 1 broken` */
export function countsLine(counts: Record<string, number>): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  return parts.length === 0 ? 'none' : parts.map(([kind, count]) => `${count} ${outcomeWord(kind)}`).join(', ');
}

function outcomeWord(kind: string): string {
  return kind === 'cancelled' ? 'not done' : stateWord(kind);
}

export const verbs: readonly ActionVerb[] = ['start', 'stop', 'reset', 'checkpoint', 'teardown'];

export const verbLabels: Record<ActionVerb, string> = {
  start: 'Start',
  stop: 'Stop',
  reset: 'Reset',
  checkpoint: 'Checkpoint',
  teardown: 'Tear down',
};

/** `Reset 3 members` */
export function actionLabel(verb: ActionVerb, count: number): string {
  return `${verbLabels[verb]} ${plural(count, 'member')}`;
}

/** `reset: 40 of 100, 2 failed` */
export function operationLine({ verb, done, failed, total, isInterrupted }: NonNullable<FleetView['operation']>): string {
  const counts = total === 0 ? '' : `: ${done} of ${total} done${failed === 0 ? '' : `, ${failed} failed`}`;
  return `${verb}${isInterrupted ? ' was interrupted' : ' is running'}${counts}`;
}
