import type { FleetEvent } from '../../../core/events/fleet-event.js';
import type { About, FleetChange, FleetView, HerdChange, HerdView, JobView, LibvirtView, MemberView } from '../../protocol.js';

/** What the page knows. Rows and fleets that did not change stay the same objects, so that views can skip them. */

export interface Fleet extends Omit<FleetView, 'members'> {
  /** In the order of their indexes. */
  members: readonly MemberView[];
}

/** The number identifies it on this page. */
export interface NumberedEvent {
  number: number;
  event: FleetEvent;
}

export interface Herd {
  about: About;
  libvirt: LibvirtView;
  /** By name. */
  fleets: readonly Fleet[];
  /** The latest last. */
  jobs: readonly JobView[];
  /** The latest last. */
  events: readonly NumberedEvent[];
}

const maxEvents = 1000;
const maxJobs = 50;

export function herdOf({ about, libvirt, fleets, jobs, events }: HerdView): Herd {
  return {
    about,
    libvirt,
    fleets: fleets.map((fleet) => ({ ...fleet, members: sortedRows(fleet.members) })).sort(byName),
    jobs: mergeJobs([], jobs),
    events: appendEvents([], events),
  };
}

/** Applies everything that arrived since the last frame. */
export function applyChanges(herd: Herd, changes: readonly HerdChange[]): Herd {
  const next = { ...herd };
  const drafts = new Map<string, Draft>();
  for (const { libvirt, fleets, jobs, events } of changes) {
    if (libvirt !== undefined) next.libvirt = libvirt;
    if (jobs !== undefined) next.jobs = mergeJobs(next.jobs, jobs);
    if (events !== undefined) next.events = appendEvents(next.events, events);
    for (const [name, change] of Object.entries(fleets ?? {})) {
      if (change === null) drafts.set(name, { isGone: true, fields: {}, rows: new Map() });
      else collect(drafts, name, change);
    }
  }
  if (drafts.size > 0) next.fleets = withDrafts(herd.fleets, drafts);
  return next;
}

/** A job that the server reported in an answer; a later report of the stream wins. */
export function withJob(herd: Herd, job: JobView): Herd {
  return herd.jobs.some(({ id }) => id === job.id) ? herd : { ...herd, jobs: mergeJobs(herd.jobs, [job]) };
}

/** The changes of one fleet until they are applied. A null row is a member that is gone. */
interface Draft {
  /** Whether it was removed, or replaced by a new fleet. */
  isGone: boolean;
  fields: Partial<Omit<Fleet, 'members' | 'fleet'>> | null;
  rows: Map<number, MemberView | null>;
}

function collect(drafts: Map<string, Draft>, name: string, { members = [], gone = [], ...fields }: FleetChange): void {
  const draft = drafts.get(name) ?? { isGone: false, fields: {}, rows: new Map() };
  draft.fields = { ...draft.fields, ...fields };
  for (const index of gone) draft.rows.set(index, null);
  for (const row of members) draft.rows.set(row.index, row);
  drafts.set(name, draft);
}

const unknownFields = { base: '', newerBase: null, problem: null, savings: null, operation: null };

function withDrafts(fleets: readonly Fleet[], drafts: ReadonlyMap<string, Draft>): readonly Fleet[] {
  const known = new Map(fleets.map((fleet) => [fleet.fleet, fleet]));
  for (const [name, { isGone, fields, rows }] of drafts) {
    const before = isGone ? undefined : known.get(name);
    if (isGone && rows.size === 0 && Object.keys(fields ?? {}).length === 0) {
      known.delete(name);
      continue;
    }
    const from: Fleet = before ?? { ...unknownFields, fleet: name, members: [] };
    known.set(name, { ...from, ...fields, fleet: name, members: withRows(from.members, rows) });
  }
  return [...known.values()].sort(byName);
}

function withRows(members: readonly MemberView[], rows: ReadonlyMap<number, MemberView | null>): readonly MemberView[] {
  if (rows.size === 0) return members;
  const left = new Map(rows);
  const kept: MemberView[] = [];
  for (const member of members) {
    const row = left.get(member.index);
    if (row === undefined) kept.push(member);
    else if (row !== null) kept.push(row);
    if (row !== undefined) left.delete(member.index);
  }
  const added = [...left.values()].filter((row) => row !== null);
  return added.length === 0 ? kept : sortedRows([...kept, ...added]);
}

function mergeJobs(jobs: readonly JobView[], newer: readonly JobView[]): readonly JobView[] {
  const byId = new Map(jobs.map((job) => [job.id, job]));
  for (const job of newer) byId.set(job.id, job);
  return [...byId.values()].sort((a, b) => (a.startedAt < b.startedAt ? -1 : a.startedAt > b.startedAt ? 1 : 0)).slice(-maxJobs);
}

function appendEvents(events: readonly NumberedEvent[], newer: readonly FleetEvent[]): readonly NumberedEvent[] {
  const from = (events.at(-1)?.number ?? 0) + 1;
  return [...events, ...newer.map((event, position) => ({ number: from + position, event }))].slice(-maxEvents);
}

function sortedRows(members: readonly MemberView[]): readonly MemberView[] {
  return [...members].sort((a, b) => a.index - b.index);
}

const { compare } = new Intl.Collator('en', { numeric: true });

function byName(a: Fleet, b: Fleet): number {
  return compare(a.fleet, b.fleet);
}
