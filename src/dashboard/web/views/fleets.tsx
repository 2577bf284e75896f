import type { VNode } from 'preact';
import { Savings, StateCounts } from '../parts/counts.js';
import { EventList } from '../parts/events.js';
import { memo } from '../parts/memo.js';
import { Operation } from '../parts/progress.js';
import type { Fleet, Herd } from '../store/herd.js';
import { isTroubled } from '../store/levels.js';
import { fleetLink } from '../store/route.js';
import { plural } from '../text/format.js';
import { countStates } from '../text/words.js';

export function FleetsPage({ known: { fleets, events, about } }: { known: Herd }): VNode {
  const members = fleets.reduce((sum, fleet) => sum + fleet.members.length, 0);
  return (
    <>
      <h1 tabIndex={-1}>Fleets</h1>
      {fleets.length === 0 ? (
        <div class="box">
          <p>There are no fleets in {about.store}.</p>
          <p>
            Create one: <code>cowherd spawn lab --base golden.qcow2 --count 10</code>
          </p>
        </div>
      ) : (
        <>
          <p class="note">
            {plural(fleets.length, 'fleet')} with {plural(members, 'member')}
          </p>
          <ul class="cards">
            {fleets.map((fleet) => (
              <FleetCard key={fleet.fleet} fleet={fleet} />
            ))}
          </ul>
        </>
      )}
      <h2>Recent events</h2>
      <EventList events={events} label="Recent events" />
    </>
  );
}

const FleetCard = memo(({ fleet }: { fleet: Fleet }) => {
  const { fleet: name, base, savings, operation, members } = fleet;
  return (
    <li class="card">
      <h2>
        <a href={fleetLink(name)}>{name}</a> <small>{plural(members.length, 'member')}</small>
      </h2>
      <p class="note">
        Based on <code>{base}</code>
      </p>
      <StateCounts counts={countStates(members)} isBrief />
      <Savings savings={savings} />
      <Operation fleet={name} operation={operation} />
      <Problems fleet={fleet} />
    </li>
  );
});

function Problems({ fleet: { problem, newerBase, members } }: { fleet: Fleet }): VNode | null {
  const troubled = members.filter(isTroubled).length;
  const outdated = members.filter(({ isOutdated }) => isOutdated).length;
  const lines = [
    ...(problem === null ? [] : [problem]),
    ...(troubled === 0 ? [] : [`${plural(troubled, 'member')} with problems`]),
    ...(newerBase === null || outdated === 0 ? [] : [`${plural(outdated, 'member')} on an outdated base image`]),
  ];
  if (lines.length === 0) return null;
  return (
    <ul class="problems">
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}
