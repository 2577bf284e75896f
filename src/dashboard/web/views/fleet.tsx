import type { VNode } from 'preact';
import { ActionBar } from '../parts/action-bar.js';
import { Savings, StateCounts } from '../parts/counts.js';
import { EventList } from '../parts/events.js';
import { useThrottled, useValue } from '../parts/hooks.js';
import { Jobs } from '../parts/jobs.js';
import { MemberGrid } from '../parts/member-grid.js';
import { MemberTable } from '../parts/member-table.js';
import { Operation } from '../parts/progress.js';
import { choiceOf, type FleetChoice } from '../store/fleet-choice.js';
import type { Fleet, Herd } from '../store/herd.js';
import { noSelection, presentIn } from '../store/selection.js';
import { plural } from '../text/format.js';
import { countStates } from '../text/words.js';

export function FleetPage({ known: { about, jobs, events }, fleet }: { known: Herd; fleet: Fleet }): VNode {
  const { fleet: name, members } = fleet;
  const choice = choiceOf(name);
  return (
    <>
      <nav aria-label="Path">
        <a href="#/">Fleets</a>
      </nav>
      <h1 tabIndex={-1}>{name}</h1>
      <p class="note">
        {plural(members.length, 'member')} based on <code>{fleet.base}</code>
      </p>
      <Problems fleet={fleet} />
      <div class="pair">
        <StateCounts counts={countStates(members)} isBrief />
        <Savings savings={fleet.savings} />
      </div>
      <Operation fleet={name} operation={fleet.operation} isKept />
      <Jobs jobs={jobs.filter(({ request }) => request.fleet === name)} />
      <SelectionBar fleet={fleet} choice={choice} isReadOnly={about.isReadOnly} />
      <h2>Members</h2>
      <MemberGrid fleet={fleet} choice={choice} />
      <MemberTable fleet={fleet} choice={choice} />
      <h2>Recent events</h2>
      <FleetEvents name={name} events={events} />
    </>
  );
}

function FleetEvents({ name, events }: { name: string; events: Herd['events'] }): VNode {
  const latest = useThrottled(events, 1000);
  return <EventList events={latest.filter(({ event }) => event.fleet === name)} label={`Recent events of ${name}`} />;
}

function SelectionBar({ fleet, choice, isReadOnly }: { fleet: Fleet; choice: FleetChoice; isReadOnly: boolean }): VNode | null {
  const selection = useValue(choice.selection);
  const selected = presentIn(selection, fleet.members);
  if (isReadOnly) return null;
  return (
    <div class="selection-bar">
      <ActionBar fleet={fleet.fleet} members={selected}>
        <output class="selected-count">
          {selected.length === 0 ? 'No members selected' : `${plural(selected.length, 'member')} selected`}
        </output>
        <button
          type="button"
          class="quiet"
          onClick={() => choice.selection.set({ ...noSelection, picked: new Set(fleet.members.map(({ index }) => index)) })}
        >
          Select all {fleet.members.length}
        </button>
        <button type="button" class="quiet" disabled={selected.length === 0} onClick={() => choice.selection.set(noSelection)}>
          Clear
        </button>
      </ActionBar>
    </div>
  );
}

function Problems({ fleet: { fleet, problem, newerBase, members } }: { fleet: Fleet }): VNode | null {
  const outdated = members.filter(({ isOutdated }) => isOutdated).length;
  if (problem === null && (newerBase === null || outdated === 0)) return null;
  return (
    <div class={problem === null ? 'box warn' : 'box bad'}>
      {problem !== null && <p>{problem}</p>}
      {newerBase !== null && outdated > 0 && (
        <p>
          {plural(outdated, 'member')} on an outdated base image: {newerBase} is newer. To move {outdated === 1 ? 'it' : 'them'}:{' '}
          <code>
            cowherd rebase {fleet} --base {newerBase}
          </code>
        </p>
      )}
    </div>
  );
}
