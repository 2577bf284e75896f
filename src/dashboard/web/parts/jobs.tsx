import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { JobView, Request } from '../../protocol.js';
import { observable } from '../store/observable.js';
import { ActionDialog } from './action-dialog.js';
import { useValue } from './hooks.js';
import { Job } from './job.js';

const shownJobs = 4;

/** Ids of jobs that are not shown any more. */
const dismissed = observable<ReadonlySet<string>>(new Set());

/** Actions that were started from a page: their progress, and their results. */
export function Jobs({ jobs }: { jobs: readonly JobView[] }): VNode | null {
  const hidden = useValue(dismissed);
  const [retry, setRetry] = useState<Request | null>(null);
  const place = useRef<HTMLElement>(null);
  const shown = jobs.filter(({ id, state }) => state === 'running' || !hidden.has(id)).slice(-shownJobs);
  useNewInView(place, jobs);
  if (shown.length === 0 && retry === null) return null;
  return (
    <section ref={place} aria-label="Actions that were started here" class="jobs">
      {shown.toReversed().map((job, position) => (
        <Job key={job.id} job={job} isLatest={position === 0} onRetry={setRetry} onDismiss={dismiss} />
      ))}
      {retry !== null && <ActionDialog first={retry} onClose={() => setRetry(null)} />}
    </section>
  );
}

/** Scrolls to an action that was started while the page was open. */
function useNewInView(place: { current: HTMLElement | null }, jobs: readonly JobView[]): void {
  const latest = jobs.at(-1)?.id;
  const known = useRef(latest);
  useEffect(() => {
    if (latest !== known.current && latest !== undefined) place.current?.scrollIntoView({ block: 'nearest' });
    known.current = latest;
  }, [place, latest]);
}

function dismiss(id: string): void {
  dismissed.set(new Set([...dismissed.get(), id]));
}
