import type { VNode } from 'preact';
import { stateWord } from '../../../core/events/event-text.js';
import type { MemberState } from '../../../core/fleet/observation.js';
import type { FleetView } from '../../protocol.js';
import { bytes, percent } from '../text/format.js';
import { stateLetters, states } from '../text/words.js';

/** How many members have each state, as a bar and in words. @param isBrief without the letters of the cells */
export function StateCounts({ counts, isBrief = false }: { counts: Record<MemberState, number>; isBrief?: boolean }): VNode {
  const shown = states.filter((state) => counts[state] > 0);
  return (
    <div class="counts">
      <div class="state-bar" aria-hidden="true">
        {shown.map((state) => (
          <span key={state} class={`part s-${state}`} style={{ flexGrow: String(counts[state]) }} />
        ))}
      </div>
      <ul class={isBrief ? 'legend brief' : 'legend'}>
        {shown.length === 0 && <li>No members</li>}
        {shown.map((state) => (
          <li key={state}>
            <span class={`${isBrief ? 'dot' : 'c'} s-${state}`} aria-hidden="true">
              {isBrief ? '' : stateLetters[state]}
            </span>{' '}
            {counts[state]} {stateWord(state)}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** What the fleet takes on disk, compared with full copies of its base image. */
export function Savings({ savings }: { savings: FleetView['savings'] }): VNode {
  if (savings === null) return <p class="note">The disk use is not known yet.</p>;
  const { usedBytes, copyBytes } = savings;
  const saved = copyBytes - usedBytes;
  return (
    <div class="savings">
      <div class="bar" aria-hidden="true">
        <span style={{ width: `${copyBytes === 0 ? 0 : Math.min(100, (100 * usedBytes) / copyBytes)}%` }} />
      </div>
      <p>
        <strong>{bytes(usedBytes)}</strong> on disk; full copies would take {bytes(copyBytes)}
        {saved > 0 ? ` (${percent(saved, copyBytes)} saved)` : ''}
      </p>
    </div>
  );
}
