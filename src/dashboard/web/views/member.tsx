import type { VNode } from 'preact';
import type { MemberDetail, MemberView } from '../../protocol.js';
import { ActionBar } from '../parts/action-bar.js';
import { Console } from '../parts/console.js';
import { Command } from '../parts/copy.js';
import { ErrorBox } from '../parts/error-box.js';
import { EventList } from '../parts/events.js';
import { useThrottled } from '../parts/hooks.js';
import { Jobs } from '../parts/jobs.js';
import { MemberFacts } from '../parts/member-facts.js';
import { StateBadge } from '../parts/member-row.js';
import { Cards, Disks } from '../parts/member-tables.js';
import { Operation } from '../parts/progress.js';
import { Screen } from '../parts/screen.js';
import { Screenshot } from '../parts/screenshot.js';
import { useDetail } from '../parts/use-detail.js';
import type { Fleet, Herd } from '../store/herd.js';
import { fleetLink } from '../store/route.js';

export function MemberPage({ known: { about, jobs, events }, fleet, member }: { known: Herd; fleet: Fleet; member: MemberView }): VNode {
  const { index, name, progress } = member;
  const { detail, error, refresh } = useDetail(fleet.fleet, member);
  return (
    <>
      <nav aria-label="Path">
        <a href="#/">Fleets</a> / <a href={fleetLink(fleet.fleet)}>{fleet.fleet}</a>
      </nav>
      <div class="title">
        <h1 tabIndex={-1}>{name}</h1>
        <StateBadge state={member.state} />
        {progress !== null && <span class={`mark ${progress}`}>{progress} in the running command</span>}
        {!about.isReadOnly && <ActionBar fleet={fleet.fleet} members={[index]} />}
      </div>
      <Operation fleet={fleet.fleet} operation={fleet.operation} isKept />
      <Jobs jobs={jobs.filter(({ request }) => request.fleet === fleet.fleet && request.members.includes(index))} />
      <Problems member={member} />
      <MemberFacts member={member} detail={detail} />
      {error !== null && (
        <>
          <ErrorBox error={error} title="The details are not known" />
          <button type="button" onClick={refresh}>
            Try again
          </button>
        </>
      )}
      {detail !== null && <Sections fleet={fleet.fleet} member={member} detail={detail} isReadOnly={about.isReadOnly} refresh={refresh} />}
      <h2>Recent events</h2>
      <MemberEvents name={name} events={events} />
    </>
  );
}

interface SectionsProps {
  fleet: string;
  member: MemberView;
  detail: MemberDetail;
  isReadOnly: boolean;
  refresh: () => void;
}

function Sections({ fleet, member: { index, state }, detail, isReadOnly, refresh }: SectionsProps): VNode {
  const { cards, disks, hasConsole, graphics, commands, xml } = detail;
  const of = { fleet, index, isRunning: state === 'running' || state === 'paused' };
  return (
    <>
      {hasConsole && (
        <>
          <h2>Serial console</h2>
          <Console {...of} isReadOnly={isReadOnly} />
        </>
      )}
      {graphics !== null && (
        <>
          <h2>Screen</h2>
          {graphics === 'vnc' && !isReadOnly && <Screen {...of} />}
          <Screenshot {...of} />
        </>
      )}
      <h2>Network</h2>
      <Cards cards={cards} />
      <h2>Disks</h2>
      <Disks disks={disks} />
      <h2>Commands</h2>
      <div class="commands">
        {commands.map(({ title, command }) => (
          <Command key={title} title={title} command={command} />
        ))}
      </div>
      <Definition xml={xml} refresh={refresh} />
    </>
  );
}

function Definition({ xml, refresh }: { xml: string | null; refresh: () => void }): VNode {
  return (
    <details class="definition">
      <summary>Domain XML</summary>
      {xml === null ? (
        <p class="note">It has no domain.</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the text is scrolled with the keyboard
        <section class="scroll" aria-label="Domain XML" tabIndex={0}>
          <pre>{xml}</pre>
        </section>
      )}
      <button type="button" class="small" onClick={refresh}>
        Read again
      </button>
    </details>
  );
}

function Problems({ member: { problems, hint } }: { member: MemberView }): VNode | null {
  if (problems.length === 0 && hint === null) return null;
  return (
    <div class={problems.length > 0 ? 'box bad' : 'box warn'}>
      {problems.map((problem) => (
        <p key={problem}>
          <strong>{problem}</strong>
        </p>
      ))}
      {hint !== null && <p>{hint}</p>}
    </div>
  );
}

function MemberEvents({ name, events }: { name: string; events: Herd['events'] }): VNode {
  const latest = useThrottled(events, 1000);
  return <EventList events={latest.filter(({ event }) => event.member === name)} label={`Recent events of ${name}`} />;
}
