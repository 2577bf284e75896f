import type { FleetEvent } from '../../core/events/fleet-event.js';
import { FleetTracker } from '../../core/events/tracker.js';
import type { Ports } from '../../ports/index.js';
import { observeInStore } from './observe-fleet.js';

/** A stream of what happens to fleets, whoever causes it: libvirt's events, and the files of running commands. */

export interface WatchOptions {
  /** Default: all, including those that are created later. */
  fleets?: readonly string[] | undefined;
  /** Begin with the current state, as changes from null. */
  initial?: boolean | undefined;
  signal: AbortSignal;
  onEvent: (event: FleetEvent) => void;
}

/** Changes within this time are read once. */
const settleMs = 100;
/** How often to look whether running commands still run: a killed one changes no file. In milliseconds. */
const aliveMs = 1_000;
/** A pause after a read lasts this many times as long as the read: fleets with many members are read less often. */
const restFactor = 4;

export type WatchPorts = Pick<Ports, 'events' | 'hypervisor' | 'fleets' | 'checkpoints' | 'clock'>;

/** Runs until the signal. Nothing is read while nothing happens. @throws TOOL_MISSING, STORE_FAILED */
export async function watchEvents(ports: WatchPorts, options: WatchOptions): Promise<void> {
  const end = new AbortController();
  const signal = AbortSignal.any([options.signal, end.signal]);
  const watch = new EventWatch(ports, { ...options, signal });
  const jobs = [
    ports.events.watchFleets((fleet) => watch.noticeFleet(fleet), signal),
    ports.events.watchDomains(
      {
        onEvent: (event) => watch.noticeDomain(event),
        onConnect: () => watch.noticeConnection(),
        onDisconnect: (reason) => watch.noticeDisconnection(reason),
      },
      signal,
    ),
    watch.run(),
  ];
  try {
    await Promise.race(jobs);
  } finally {
    end.abort();
    await Promise.allSettled(jobs);
  }
}

class EventWatch {
  readonly #ports: WatchPorts;
  readonly #options: WatchOptions;
  readonly #tracker = new FleetTracker();
  /** Fleets to read again. */
  readonly #changed = new Set<string>();
  #mustCompare = false;
  #isConnected: boolean | undefined;
  /** The first states are reported only on request. */
  #isBeginning = true;
  #wake: () => void = () => undefined;

  constructor(ports: WatchPorts, options: WatchOptions) {
    this.#ports = ports;
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  noticeFleet(fleet: string): void {
    const { fleets } = this.#options;
    if (fleets !== undefined && !fleets.includes(fleet)) return;
    this.#changed.add(fleet);
    this.#wake();
  }

  noticeDomain(event: Parameters<FleetTracker['domainEvent']>[0]): void {
    const { events, isUnclear } = this.#tracker.domainEvent(event);
    this.#emit(events);
    if (!isUnclear) return;
    this.#mustCompare = true;
    this.#wake();
  }

  noticeConnection(): void {
    if (this.#isConnected === false) this.#emitConnection('connected', null);
    this.#isConnected = true;
    this.#mustCompare = true;
    this.#wake();
  }

  noticeDisconnection(reason: string): void {
    if (this.#isConnected !== false) this.#emitConnection('disconnected', reason);
    this.#isConnected = false;
    this.#wake();
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const { clock } = this.#ports;
    while (!signal.aborted) {
      if (!this.#hasWork) await this.#sleepUntilWoken();
      if (!this.#hasWork) await this.#noticeKilled();
      if (!this.#hasWork) continue;
      const began = clock.monotonic();
      await this.#read();
      await clock.sleep(Math.max(settleMs, restFactor * (clock.monotonic() - began)), signal);
    }
  }

  async #read(): Promise<void> {
    const fleets = [...this.#changed];
    this.#changed.clear();
    for (const fleet of fleets) {
      // One that cannot be read is neither there nor gone: what is known of it stays.
      const seen = await observeInStore(this.#ports, fleet).catch(() => 'unreadable' as const);
      if (seen === undefined) this.#emit(this.#tracker.forgetFleet(fleet, this.#now()));
      else if (seen !== 'unreadable') this.#emit(this.#tracker.observeFleet(seen, this.#now(), this.#isBeginning));
    }
    if (this.#isConnected === false) this.#isBeginning = false;
    if (this.#isConnected !== true) return;
    // Domains of a new fleet may have been started before the fleet was known.
    this.#mustCompare = false;
    const domains = await this.#ports.hypervisor.listDomains().catch(() => undefined);
    if (domains === undefined) return;
    this.#emit(this.#tracker.observeDomains(domains, this.#now()));
    this.#isBeginning = false;
  }

  get #hasWork(): boolean {
    return this.#changed.size > 0 || this.#mustCompare;
  }

  /** Commands that were running and were killed. */
  async #noticeKilled(): Promise<void> {
    for (const fleet of this.#tracker.running) {
      if ((await this.#ports.fleets.runner(fleet).catch(() => undefined)) === undefined) this.#changed.add(fleet);
    }
  }

  async #sleepUntilWoken(): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) return;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await (this.#tracker.running.length === 0 ? woken : Promise.race([woken, this.#ports.clock.sleep(aliveMs, signal)]));
    this.#wake = () => undefined;
  }

  #emit(events: readonly FleetEvent[]): void {
    if (this.#isBeginning && this.#options.initial !== true) return;
    for (const event of events) this.#options.onEvent(this.#isBeginning ? { ...event, from: null } : event);
  }

  #emitConnection(to: 'connected' | 'disconnected', reason: string | null): void {
    const from = to === 'connected' ? 'disconnected' : 'connected';
    this.#options.onEvent({ time: this.#now(), fleet: null, member: null, what: 'connection', from, to, operation: null, reason });
  }

  #now(): string {
    return this.#ports.clock.now().toISOString();
  }
}
