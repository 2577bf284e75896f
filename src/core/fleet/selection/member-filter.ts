import { CowherdError } from '../../errors.js';
import type { MemberState } from '../observation.js';

/** State names on the command line; libvirt calls "off" "shut off". */
const states: Record<string, MemberState> = {
  running: 'running',
  off: 'shutOff',
  shutoff: 'shutOff',
  paused: 'paused',
  broken: 'broken',
  missing: 'missing',
};

/** `running`, or `paused,broken`. @throws BAD_USAGE */
export function parseStates(text: string): Set<MemberState> {
  return new Set(
    text.split(',').map((word) => {
      const state = states[word.trim().toLowerCase()];
      if (state !== undefined) return state;
      throw new CowherdError('BAD_USAGE', `${JSON.stringify(word)} is not a state of a member`, {
        hint: 'The states are running, off, paused, broken and missing; several with commas.',
      });
    }),
  );
}

/** Whether a member has a problem, or stopped or paused without a request. */
export function isTroubled({ state, problems, hint }: { state: MemberState; problems: readonly string[]; hint: string | null }): boolean {
  return state === 'broken' || state === 'missing' || problems.length > 0 || hint !== null;
}
