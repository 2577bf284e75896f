import { type HistoryEntry, indexesIn } from '../fleet/history.js';
import { type DomainState, isStartingUp } from '../fleet/observation.js';
import { agentChange, diskFault, type EventKind, type FleetEvent, type PowerState, powerChange } from './fleet-event.js';
import type { DomainEvent } from './libvirt-event.js';

/** A fleet as the store shows it. */
export interface FleetObservation {
  fleet: string;
  members: ReadonlyArray<{ index: number; name: string; uuid: string }>;
  /** The intent of a command that is not finished. */
  operation: { verb: string; id: string; done: ReadonlySet<number>; failed: ReadonlyMap<number, string> } | undefined;
  /** The last command that ended: its journal may be gone before it was read. */
  ended: HistoryEntry | undefined;
  /** The run of cowherd that has the fleet locked. */
  runner: { verb: string; since: string } | undefined;
  /** When each checkpoint was taken, by member. */
  checkpoints: ReadonlyMap<string, string>;
}

interface TrackedFleet extends FleetObservation {
  /** States of the domains, by member. */
  power: Map<string, PowerState>;
}

type Change = { member?: string | null; from: string | null; to: string | null; reason?: string | null };

/** Compares what is observed with what was known, and reports the differences. No I/O. */
export class FleetTracker {
  readonly #fleets = new Map<string, TrackedFleet>();
  /** The fleet of each member, by the member's name. */
  readonly #owner = new Map<string, string>();
  /** Members whose name another domain has. */
  readonly #foreign = new Set<string>();

  /** Fleets in which a command runs, as far as is known. */
  get running(): string[] {
    return [...this.#fleets.values()].filter(({ runner }) => runner !== undefined).map(({ fleet }) => fleet);
  }

  /** A fleet in the store, for the first time or after a change. @param isBeginning its last command ended before anything was watched */
  observeFleet(seen: FleetObservation, time: string, isBeginning = false): FleetEvent[] {
    const before = this.#fleets.get(seen.fleet);
    const power = new Map(seen.members.map(({ name }) => [name, before?.power.get(name) ?? 'missing'] as const));
    const now: TrackedFleet = { ...seen, power };
    this.#fleets.set(seen.fleet, now);
    for (const { name } of before?.members ?? []) if (!power.has(name)) this.#owner.delete(name);
    for (const { name } of seen.members) this.#owner.set(name, seen.fleet);
    const events: FleetEvent[] = [];
    const tell = (what: EventKind, change: Change): void => void events.push(eventOf(now, time, what, change));
    if (before === undefined) tell('fleet', { from: null, to: 'present' });
    const hasEnded = before === undefined ? !isBeginning && seen.ended !== undefined : seen.ended?.id !== before.ended?.id;
    if (hasEnded) events.push(...endedEvents(before, now, time));
    events.push(...commandEvents(before, now, time));
    for (const change of progressChanges(before, now)) tell('progress', change);
    for (const { name } of seen.members) {
      const [from = null, to = null] = [before?.checkpoints.get(name), seen.checkpoints.get(name)];
      if (from !== to) tell('checkpoint', { member: name, from, to });
    }
    return events;
  }

  /** The fleet is no longer in the store. */
  forgetFleet(fleet: string, time: string): FleetEvent[] {
    const before = this.#fleets.get(fleet);
    if (before === undefined) return [];
    this.#fleets.delete(fleet);
    for (const { name } of before.members) this.#owner.delete(name);
    const gone: TrackedFleet = { ...before, operation: undefined, runner: undefined };
    return [...commandEvents(before, gone, time), eventOf(before, time, 'fleet', { from: 'present', to: 'missing' })];
  }

  /** @param domains all domains of libvirt */
  observeDomains(domains: readonly DomainState[], time: string): FleetEvent[] {
    const byName = new Map(domains.map((domain) => [domain.name, domain]));
    const events: FleetEvent[] = [];
    for (const fleet of this.#fleets.values()) {
      for (const { name, uuid } of fleet.members) {
        const domain = byName.get(name);
        const isForeign = domain !== undefined && domain.uuid !== uuid;
        if (isForeign) this.#foreign.add(name);
        else this.#foreign.delete(name);
        const to = domain === undefined || isForeign ? 'missing' : powerOf(domain);
        const from = fleet.power.get(name) ?? 'missing';
        // Brief; another event follows.
        if (from === to || (domain !== undefined && isStartingUp(domain))) continue;
        fleet.power.set(name, to);
        events.push(eventOf(fleet, time, 'state', { member: name, from, to, reason: domain?.reason ?? null }));
      }
    }
    return events;
  }

  /** @returns isUnclear: the states of the domains must be observed, because the event alone does not tell */
  domainEvent(event: DomainEvent): { events: FleetEvent[]; isUnclear: boolean } {
    const member = event.domain;
    const fleet = this.#fleets.get(this.#owner.get(member) ?? '');
    const none = { events: [], isUnclear: false };
    if (fleet === undefined) return none;
    const from = fleet.power.get(member) ?? 'missing';
    // By its name alone: it may be another domain.
    if (this.#foreign.has(member) || from === 'missing') return { events: [], isUnclear: event.event === 'lifecycle' };
    const power = powerChange(event, from);
    if (power !== undefined) {
      fleet.power.set(member, power.to);
      return { events: [eventOf(fleet, event.time, 'state', { member, from, ...power })], isUnclear: false };
    }
    const agent = agentChange(event);
    if (agent !== undefined) return { events: [eventOf(fleet, event.time, 'agent', { member, from: null, ...agent })], isUnclear: false };
    const disk = diskFault(event);
    return disk === undefined ? none : { events: [eventOf(fleet, event.time, 'disk', { member, from: null, ...disk })], isUnclear: false };
  }
}

function powerOf({ state }: DomainState): PowerState {
  return state === 'other' ? 'paused' : state;
}

function commandState({ operation, runner }: Pick<TrackedFleet, 'operation' | 'runner'>): 'running' | 'interrupted' | null {
  return runner !== undefined ? 'running' : operation !== undefined ? 'interrupted' : null;
}

function commandEvents(before: TrackedFleet | undefined, now: TrackedFleet, time: string): FleetEvent[] {
  const [from, to] = [before === undefined ? null : commandState(before), commandState(now)];
  if (from === to) return before !== undefined && isOtherRun(before, now) ? changeOfRun(before, now, time) : [];
  // The command that ended is named by what was known before.
  return [eventOf(to === null && before !== undefined ? before : now, time, 'command', { from, to: to ?? 'done' })];
}

function isOtherRun(before: TrackedFleet, now: TrackedFleet): boolean {
  return before.runner !== undefined && now.runner !== undefined && before.runner.since !== now.runner.since;
}

/** A command ended and another one began between two looks. */
function changeOfRun(before: TrackedFleet, now: TrackedFleet, time: string): FleetEvent[] {
  const isResumed = before.operation !== undefined && before.operation.id === now.operation?.id;
  const left = isResumed ? 'interrupted' : 'done';
  return [
    eventOf(before, time, 'command', { from: 'running', to: left }),
    eventOf(now, time, 'command', { from: isResumed ? left : null, to: 'running' }),
  ];
}

/** A command that ended since the last look: its members, and if it was never seen running, itself. */
function endedEvents(before: TrackedFleet | undefined, now: TrackedFleet, time: string): FleetEvent[] {
  const { ended, members } = now;
  if (ended === undefined) return [];
  const done = new Set(members.map(({ index }) => index).filter(indexesIn(ended.done)));
  const failed = new Map(Object.entries(ended.failed).map(([index, code]) => [Number(index), code]));
  const last: TrackedFleet = { ...now, operation: { id: ended.id, verb: ended.verb, done, failed } };
  const events = progressChanges(before, last).map((change) => eventOf(last, time, 'progress', change));
  const wasSeen = before !== undefined && (before.operation?.id ?? ended.id) === ended.id && commandState(before) !== null;
  return wasSeen ? events : [...events, eventOf(last, time, 'command', { from: null, to: 'done' })];
}

function progressChanges(before: TrackedFleet | undefined, { operation, members }: TrackedFleet): Change[] {
  if (operation === undefined) return [];
  const earlier = before?.operation?.id === operation.id ? before.operation : undefined;
  return members.flatMap(({ index, name }): Change[] => {
    if (operation.done.has(index)) return earlier?.done.has(index) === true ? [] : [{ member: name, from: null, to: 'done' }];
    const reason = operation.failed.get(index);
    if (reason === undefined || earlier?.failed.get(index) === reason) return [];
    return [{ member: name, from: null, to: 'failed', reason }];
  });
}

function eventOf(fleet: TrackedFleet, time: string, what: EventKind, { member = null, from, to, reason = null }: Change): FleetEvent {
  const { operation, runner } = fleet;
  const verb = operation?.verb ?? runner?.verb;
  const command = verb === undefined ? null : { verb, id: operation?.id ?? null };
  return { time, fleet: fleet.fleet, member, what, from, to, operation: command, reason };
}
