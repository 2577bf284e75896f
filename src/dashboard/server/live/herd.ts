import type { FleetEvent } from '../../../core/events/fleet-event.js';
import type { FleetChange, HerdChange, LibvirtView, MemberView } from '../../protocol.js';
import type { FleetHead } from './rows.js';
import { isSame } from './same.js';

/** A fleet as it is now. Rows are replaced, never changed. */
export interface Shown {
  head: FleetHead;
  members: Map<number, MemberView>;
  /** Indexes by name. */
  names: Map<string, number>;
}

/** What was sent of a fleet that has changed since. */
interface Earlier {
  head: FleetHead | undefined;
  members: Map<number, MemberView | undefined>;
}

/** Events that a new page gets. */
const keptEvents = 200;

/** All fleets as pages show them. Remembers only what has changed since the last {@link takeChange}. */
export class Herd {
  readonly #fleets = new Map<string, Shown>();
  readonly #earlier = new Map<string, Earlier>();
  #libvirt: LibvirtView = { isConnected: true, reason: null };
  #sentLibvirt = this.#libvirt;
  #events: FleetEvent[] = [];
  #newEvents: FleetEvent[] = [];
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get libvirt(): LibvirtView {
    return this.#libvirt;
  }

  get events(): readonly FleetEvent[] {
    return this.#events;
  }

  get names(): string[] {
    return [...this.#fleets.keys()];
  }

  fleet(name: string): Readonly<Shown> | undefined {
    return this.#fleets.get(name);
  }

  /** In the order of their names. */
  *fleets(): Generator<Readonly<Shown>> {
    for (const name of [...this.#fleets.keys()].sort()) {
      const shown = this.#fleets.get(name);
      if (shown !== undefined) yield shown;
    }
  }

  setLibvirt(libvirt: LibvirtView): void {
    if (isSame(this.#libvirt, libvirt)) return;
    this.#libvirt = libvirt;
    this.#onChange();
  }

  /** Creates the fleet if it is new. */
  setHead(head: FleetHead): void {
    const shown = this.#fleets.get(head.fleet);
    if (shown !== undefined && isSame(shown.head, head)) return;
    this.#note(head.fleet);
    if (shown === undefined) this.#fleets.set(head.fleet, { head, members: new Map(), names: new Map() });
    else shown.head = head;
    this.#onChange();
  }

  setMember(fleet: string, row: MemberView): void {
    const shown = this.#fleets.get(fleet);
    const before = shown?.members.get(row.index);
    if (shown === undefined || isSame(before, row)) return;
    this.#noteMember(fleet, row.index, before);
    shown.members.set(row.index, row);
    shown.names.set(row.name, row.index);
    this.#onChange();
  }

  removeMember(fleet: string, index: number): void {
    const shown = this.#fleets.get(fleet);
    const before = shown?.members.get(index);
    if (shown === undefined || before === undefined) return;
    this.#noteMember(fleet, index, before);
    shown.members.delete(index);
    shown.names.delete(before.name);
    this.#onChange();
  }

  removeFleet(fleet: string): void {
    const shown = this.#fleets.get(fleet);
    if (shown === undefined) return;
    for (const index of [...shown.members.keys()]) this.removeMember(fleet, index);
    this.#note(fleet);
    this.#fleets.delete(fleet);
    this.#onChange();
  }

  addEvent(event: FleetEvent): void {
    for (const list of [this.#events, this.#newEvents]) {
      list.push(event);
      if (list.length > 2 * keptEvents) list.splice(0, list.length - keptEvents);
    }
    this.#onChange();
  }

  /** What has changed since the last call; undefined if nothing has. */
  takeChange(): HerdChange | undefined {
    const change: HerdChange = {};
    if (!isSame(this.#libvirt, this.#sentLibvirt)) change.libvirt = this.#libvirt;
    this.#sentLibvirt = this.#libvirt;
    const fleets: Record<string, FleetChange | null> = {};
    for (const [name, earlier] of this.#earlier) {
      const shown = this.#fleets.get(name);
      const changed = shown === undefined ? (earlier.head === undefined ? undefined : null) : changeOf(shown, earlier);
      if (changed !== undefined) fleets[name] = changed;
    }
    this.#earlier.clear();
    if (Object.keys(fleets).length > 0) change.fleets = fleets;
    if (this.#newEvents.length > 0) change.events = this.#newEvents.slice(-keptEvents);
    this.#newEvents = [];
    return Object.keys(change).length === 0 ? undefined : change;
  }

  clear(): void {
    this.#fleets.clear();
    this.#earlier.clear();
    this.#events = [];
    this.#newEvents = [];
  }

  #note(fleet: string): Earlier {
    const known = this.#earlier.get(fleet);
    if (known !== undefined) return known;
    const earlier: Earlier = { head: this.#fleets.get(fleet)?.head, members: new Map() };
    this.#earlier.set(fleet, earlier);
    return earlier;
  }

  #noteMember(fleet: string, index: number, before: MemberView | undefined): void {
    const { members } = this.#note(fleet);
    if (!members.has(index)) members.set(index, before);
  }
}

function changeOf({ head, members }: Shown, earlier: Earlier): FleetChange | undefined {
  const change: FleetChange = {};
  for (const key of Object.keys(head) as Array<keyof FleetHead>) {
    if (key !== 'fleet' && !isSame(head[key], earlier.head?.[key])) Object.assign(change, { [key]: head[key] });
  }
  // A fleet that was removed and created again still has all its fields.
  const rows: MemberView[] = [];
  const gone: number[] = [];
  for (const [index, before] of earlier.members) {
    const row = members.get(index);
    if (row === undefined && before !== undefined) gone.push(index);
    else if (row !== undefined && !isSame(row, before)) rows.push(row);
  }
  if (rows.length > 0) change.members = rows;
  if (gone.length > 0) change.gone = gone;
  return Object.keys(change).length === 0 ? undefined : change;
}
