import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Banner } from '../parts/banner.js';
import { useThrottled, useValue } from '../parts/hooks.js';
import { Jobs } from '../parts/jobs.js';
import { announcement } from '../store/announcer.js';
import type { Herd } from '../store/herd.js';
import { herd } from '../store/page-store.js';
import { type Route, routeOf } from '../store/route.js';
import { FleetPage } from './fleet.js';
import { FleetsPage } from './fleets.js';
import { MemberPage } from './member.js';

export function App(): VNode {
  const known = useThrottled(useValue(herd), 250);
  const route = useRoute();
  return (
    <>
      <Header known={known} />
      <Banner />
      <main>{known === null ? <p class="note">Connecting…</p> : <Page key={JSON.stringify(route)} known={known} route={route} />}</main>
      <Announcements />
    </>
  );
}

function Header({ known }: { known: Herd | null }): VNode {
  return (
    <header class="top">
      <a class="brand" href="#/">
        cowherd
      </a>
      {known !== null && (
        <p>
          <span>{known.about.host}</span> <code>{known.about.uri}</code> <span>store</span> <code>{known.about.store}</code>
          {known.about.isReadOnly && <span class="badge">Read-only</span>}
        </p>
      )}
    </header>
  );
}

function Page({ known, route }: { known: Herd; route: Route }): VNode {
  useEffect(() => {
    const heading = document.querySelector<HTMLElement>('main h1');
    document.title = route.page === 'fleets' ? `cowherd: ${known.about.host}` : `${heading?.textContent ?? ''} · cowherd`;
    // After a link was followed, but not when the page was opened.
    if (document.activeElement !== document.body || isFollowed) heading?.focus();
    isFollowed = true;
  }, []);
  if (route.page === 'fleets') return <FleetsPage known={known} />;
  const fleet = known.fleets.find(({ fleet: name }) => name === route.fleet);
  const jobs = known.jobs.filter(({ request }) => request.fleet === route.fleet);
  if (fleet === undefined) return <NotFound what={`Fleet ${route.fleet}`} jobs={jobs} />;
  if (route.page === 'fleet') return <FleetPage known={known} fleet={fleet} />;
  const member = fleet.members.find(({ index }) => index === route.index);
  if (member === undefined) return <NotFound what={`Member ${route.index} of ${route.fleet}`} jobs={jobs} />;
  return <MemberPage known={known} fleet={fleet} member={member} />;
}

let isFollowed = false;

/** It may have been removed by one of the actions, while its page was open. */
function NotFound({ what, jobs }: { what: string; jobs: Herd['jobs'] }): VNode {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // What had the focus is gone.
    if (document.activeElement === document.body) heading.current?.focus();
  }, []);
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        {what} was not found
      </h1>
      <p>It may have been removed, or belong to another store.</p>
      <Jobs jobs={jobs} />
      <p>
        <a href="#/">All fleets</a>
      </p>
    </>
  );
}

function useRoute(): Route {
  const [route, setRoute] = useState(() => routeOf(location.hash));
  useEffect(() => {
    const follow = (): void => {
      setRoute(routeOf(location.hash));
      window.scrollTo(0, 0);
    };
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, []);
  return route;
}

/** What a screen reader reads out, e.g. the results of actions. */
function Announcements(): VNode {
  return (
    <div class="unseen" role="status" aria-live="polite">
      {useValue(announcement)}
    </div>
  );
}
