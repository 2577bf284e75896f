import { CowherdError, reportOf } from '../../../core/errors.js';
import type { Ports } from '../../../ports/index.js';
import { report } from '../../../services/fleet/status/report.js';
import { status } from '../../../services/fleet/status/status.js';
import { AgentReader } from './agents.js';
import type { Updates } from './apply.js';
import type { Herd } from './herd.js';

/** All times in milliseconds. */
const times = {
  /** Changes within it are read once. */
  settle: 100,
  /** Between two readings of a fleet. */
  least: 2_000,
  /** Drift grows without an event. */
  most: 30_000,
  savings: 25_000,
};
/** A pause after a reading is at least this many times as long. */
const restFactor = 10;

/** Without libvirt, no fleet can be read. */
const ofLibvirt: ReadonlySet<string> = new Set(['CONNECTION_FAILED', 'TOOL_MISSING', 'TOOL_TIMEOUT']);

/** Reads fleets that have changed, one after the other, and all of them from time to time. */
export class FleetReader {
  readonly #ports: Ports;
  readonly #herd: Herd;
  readonly #updates: Updates;
  readonly #signal: AbortSignal;
  /** When to read each fleet, by clock.monotonic(). */
  readonly #due = new Map<string, number>();
  readonly #notBefore = new Map<string, number>();
  /** When to read the savings again: they are in the headers of all disks. */
  readonly #savingsAt = new Map<string, number>();
  readonly #agents: AgentReader;
  #listAt = 0;
  #wake: () => void = () => undefined;

  constructor(ports: Ports, herd: Herd, updates: Updates, signal: AbortSignal) {
    this.#ports = ports;
    this.#herd = herd;
    this.#updates = updates;
    this.#signal = signal;
    this.#agents = new AgentReader(ports, herd, signal);
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  notice(fleet: string): void {
    const soon = this.#ports.clock.monotonic() + times.settle;
    const at = Math.max(soon, this.#notBefore.get(fleet) ?? 0);
    if (at >= (this.#due.get(fleet) ?? Number.POSITIVE_INFINITY)) return;
    this.#due.set(fleet, at);
    this.#wake();
  }

  noticeAll(): void {
    for (const fleet of this.#herd.names) this.notice(fleet);
  }

  /** @param onFirst called once every fleet was read for the first time */
  async run(onFirst: () => void): Promise<void> {
    const { clock } = this.#ports;
    let isFirst = true;
    while (!this.#signal.aborted) {
      if (clock.monotonic() >= this.#listAt) await this.#list();
      const [fleet, at] = [...this.#due].sort(([, one], [, other]) => one - other)[0] ?? [];
      if (isFirst && at !== 0) {
        isFirst = false;
        onFirst();
      }
      const now = clock.monotonic();
      if (fleet !== undefined && at !== undefined && at <= now) await this.#read(fleet);
      else await this.#sleep(Math.min(at ?? this.#listAt, this.#listAt) - now);
    }
  }

  async #list(): Promise<void> {
    const { fleets, clock } = this.#ports;
    this.#listAt = clock.monotonic() + times.most;
    const names = await fleets.list().catch(() => undefined);
    if (names === undefined) return;
    for (const gone of this.#herd.names.filter((name) => !names.includes(name))) this.#forget(gone);
    for (const name of names)
      this.#due.set(name, this.#notBefore.has(name) ? Math.max(clock.monotonic(), this.#notBefore.get(name) ?? 0) : 0);
  }

  async #read(fleet: string): Promise<void> {
    const { clock } = this.#ports;
    this.#due.delete(fleet);
    const began = clock.monotonic();
    try {
      const seen = await status(this.#ports, fleet);
      if (this.#signal.aborted) return;
      this.#updates.status(seen, began, clock.now().getTime());
      this.#herd.setLibvirt({ isConnected: true, reason: null });
      this.#agents.notice(fleet);
      await this.#readSavings(fleet);
    } catch (error) {
      await this.#failed(fleet, error);
    }
    const ended = clock.monotonic();
    this.#notBefore.set(fleet, ended + Math.max(times.least, restFactor * (ended - began)));
    // Changes during the reading.
    const again = this.#due.get(fleet);
    if (again !== undefined) this.#due.set(fleet, Math.max(again, this.#notBefore.get(fleet) ?? 0));
  }

  async #readSavings(fleet: string): Promise<void> {
    const now = this.#ports.clock.monotonic();
    if (now < (this.#savingsAt.get(fleet) ?? 0)) return;
    this.#savingsAt.set(fleet, now + times.savings);
    const read = await report(this.#ports, fleet).catch(() => undefined);
    if (this.#signal.aborted) return;
    const usedBytes = read === undefined ? 0 : read.bases.allocatedBytes + read.overlays.allocatedBytes;
    this.#updates.savings(fleet, read === undefined ? null : { usedBytes, copyBytes: read.fullCopies.allocatedBytes });
  }

  async #failed(fleet: string, error: unknown): Promise<void> {
    const { code, message } = reportOf(error);
    if (this.#signal.aborted) return;
    if (code === 'FLEET_NOT_FOUND' && !(await this.#ports.fleets.list().catch(() => [fleet])).includes(fleet)) return this.#forget(fleet);
    if (error instanceof CowherdError && ofLibvirt.has(code)) {
      this.#herd.setLibvirt({ isConnected: false, reason: message });
      if (this.#herd.fleet(fleet) !== undefined) return;
    }
    this.#updates.problem(fleet, message);
  }

  #forget(fleet: string): void {
    this.#herd.removeFleet(fleet);
    this.#due.delete(fleet);
    this.#notBefore.delete(fleet);
    this.#savingsAt.delete(fleet);
  }

  async #sleep(milliseconds: number): Promise<void> {
    if (this.#signal.aborted || milliseconds <= 0) return;
    const enough = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([woken, this.#ports.clock.sleep(milliseconds, enough.signal)]);
    enough.abort();
    this.#wake = () => undefined;
  }
}
