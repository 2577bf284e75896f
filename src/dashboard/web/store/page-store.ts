import type { HerdChange, HerdView, JobView } from '../../protocol.js';
import { follow, type Link } from '../net/stream.js';
import { announce } from './announcer.js';
import { endedJobs } from './finished-jobs.js';
import { applyChanges, type Herd, herdOf, withJob } from './herd.js';
import { observable } from './observable.js';

/** The state of the page, outside of its views. */

export const herd = observable<Herd | null>(null);
export const link = observable<Link>('connecting');

let waiting: HerdChange[] = [];
let frame = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Applies what has arrived, once per frame. A hidden page has no frames, so that a timer does it there. */
function schedule(): void {
  if (frame !== 0) return;
  frame = requestAnimationFrame(apply);
  timer = setTimeout(apply, 1000);
}

function apply(): void {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  frame = 0;
  const changes = waiting;
  waiting = [];
  const known = herd.get();
  if (known !== null && changes.length > 0) show(applyChanges(known, changes));
}

/** Jobs whose end will be announced. */
const watched = new Set<string>();

function show(next: Herd): void {
  const before = herd.get()?.jobs;
  herd.set(next);
  if (next.jobs !== before || watched.size > 0) for (const message of endedJobs(watched, next.jobs)) announce(message);
}

export function startFollowing(): void {
  follow({
    state: (view: HerdView) => {
      waiting = [];
      show(herdOf(view));
    },
    change: (change) => {
      waiting.push(change);
      schedule();
    },
    link: (next) => link.set(next),
  });
}

export function addJob(job: JobView): void {
  const known = herd.get();
  // It may have ended already.
  watched.add(job.id);
  if (known !== null) show(withJob(known, job));
}
