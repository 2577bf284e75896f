import { randomBytes } from 'node:crypto';
import { reportOf } from '../../../core/errors.js';
import type { FleetEvent } from '../../../core/events/fleet-event.js';
import type { Ports } from '../../../ports/index.js';
import { watchEvents } from '../../../services/events/watch.js';
import type { About, HerdView, JobView } from '../../protocol.js';
import { Updates } from './apply.js';
import { Herd } from './herd.js';
import { FleetReader } from './reader.js';
import { Ring } from './ring.js';
import { type Sink, StreamClient } from './stream.js';

/** All times in milliseconds. */
const times = {
  /** Between two changes on the wire. */
  batch: 100,
  heartbeat: 15_000,
  /** How long to keep watching without a page: one that is loaded again comes back. */
  linger: 30_000,
  /** A new page waits so long for the first reading. */
  first: 3_000,
  /** What exists at the beginning is no event. */
  beginning: 2_000,
  /** After a watch that failed. */
  retry: 5_000,
};

export interface JobSource {
  list(): JobView[];
  /** Those that have changed since the last call. */
  takeChanged(): JobView[];
}

interface Watch {
  end: AbortController;
  /** Every fleet was read once. */
  ready: Promise<void>;
  done: Promise<unknown>;
}

/** The state that pages show, and the pages. Nothing is read while there is none. */
export class Live {
  readonly #ports: Ports;
  readonly #about: About;
  readonly #jobs: JobSource;
  readonly #herd = new Herd(() => this.noticeChange());
  readonly #updates: Updates;
  readonly #ring = new Ring();
  readonly #clients = new Set<StreamClient>();
  readonly #timers = { batch: undefined as NodeJS.Timeout | undefined, linger: undefined as NodeJS.Timeout | undefined };
  #heartbeat: NodeJS.Timeout | undefined;
  /** Ids of an earlier watch mean nothing now. */
  #epoch = '';
  #isClosed = false;
  #watch: Watch | undefined;

  constructor(ports: Ports, about: About, jobs: JobSource) {
    this.#ports = ports;
    this.#about = about;
    this.#jobs = jobs;
    this.#updates = new Updates(this.#herd, () => ports.clock.monotonic());
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Sends the state, then changes, until the connection is closed. @param lastId what the page has received before */
  async connect(sink: Sink, lastId: string | undefined): Promise<void> {
    const client = new StreamClient(sink, () => ({ id: this.#id(this.#ring.last), text: JSON.stringify(this.#view()) }));
    clearTimeout(this.#timers.linger);
    let isClosed = false;
    this.#clients.add(client);
    sink.on('close', () => {
      isClosed = true;
      this.#leave(client);
    });
    const watch = this.#begin();
    const enough = new AbortController();
    await Promise.race([watch.ready, this.#ports.clock.sleep(times.first, enough.signal)]);
    enough.abort();
    if (isClosed) return;
    // What has changed so far is in the state.
    this.#flush();
    client.open(this.#missed(lastId)?.map(({ id, text }) => ({ id: this.#id(id), text })));
  }

  /** Jobs or fleets have changed. */
  noticeChange(): void {
    this.#timers.batch ??= setTimeout(() => this.#flush(), times.batch);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timers.linger);
    clearTimeout(this.#timers.batch);
    for (const client of this.#clients) client.end();
    await this.#end();
  }

  #view(): HerdView {
    return {
      about: this.#about,
      libvirt: this.#herd.libvirt,
      fleets: [...this.#herd.fleets()].map(({ head, members }) => ({
        ...head,
        members: [...members.values()].sort((a, b) => a.index - b.index),
      })),
      jobs: this.#jobs.list(),
      events: this.#herd.events.slice(-200),
    };
  }

  #id(position: number): string {
    return `${this.#epoch}-${position}`;
  }

  #missed(lastId: string | undefined): Array<{ id: number; text: string }> | undefined {
    const [, epoch, position] = /^([0-9a-f]+)-(\d{1,12})$/.exec(lastId ?? '') ?? [];
    return epoch === this.#epoch ? this.#ring.after(Number(position)) : undefined;
  }

  #flush(): void {
    clearTimeout(this.#timers.batch);
    this.#timers.batch = undefined;
    const jobs = this.#jobs.takeChanged();
    const change = this.#herd.takeChange();
    if (change === undefined && jobs.length === 0) return;
    const text = JSON.stringify({ ...change, ...(jobs.length === 0 ? {} : { jobs }) });
    const id = this.#id(this.#ring.add(text));
    for (const client of this.#clients) client.sendChange(id, text);
  }

  #beat(): void {
    for (const client of this.#clients) client.beat();
  }

  #leave(client: StreamClient): void {
    this.#clients.delete(client);
    if (this.#clients.size === 0 && !this.#isClosed) this.#timers.linger = setTimeout(() => void this.#end(), times.linger);
  }

  #begin(): Watch {
    if (this.#watch !== undefined) return this.#watch;
    this.#epoch = randomBytes(6).toString('hex');
    this.#ring.clear();
    this.#updates.clear();
    const end = new AbortController();
    const reader = new FleetReader(this.#ports, this.#herd, this.#updates, end.signal);
    let isReady: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => {
      isReady = resolve;
    });
    const done = Promise.allSettled([reader.run(isReady), this.#watchEvents(reader, end.signal)]);
    this.#heartbeat = setInterval(() => this.#beat(), times.heartbeat);
    this.#watch = { end, ready, done };
    return this.#watch;
  }

  /** If changes cannot be watched, e.g. because the kernel allows no more watches, fleets are still read from time to time. */
  async #watchEvents(reader: FleetReader, signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    while (!signal.aborted) {
      const began = clock.monotonic();
      const onEvent = (event: FleetEvent): void => {
        if (!signal.aborted) this.#onEvent(reader, event, clock.monotonic() - began < times.beginning);
      };
      await watchEvents(this.#ports, { initial: true, signal, onEvent }).catch((error: unknown) => {
        const { code, message } = reportOf(error);
        if (code === 'TOOL_MISSING') this.#herd.setLibvirt({ isConnected: false, reason: message });
      });
      await clock.sleep(times.retry, signal);
    }
  }

  #onEvent(reader: FleetReader, event: FleetEvent, isBeginning: boolean): void {
    const { fleet, what, from, to } = event;
    // Other kinds have no earlier value at any time.
    const isInitial = from === null && (what === 'state' || (isBeginning && ['fleet', 'checkpoint', 'command'].includes(what)));
    if (!isInitial) this.#herd.addEvent(event);
    const mustRead = this.#updates.event(event);
    if (what === 'connection' && to === 'connected') reader.noticeAll();
    else if (fleet !== null && mustRead) reader.notice(fleet);
  }

  async #end(): Promise<void> {
    const { end, done } = this.#watch ?? {};
    this.#watch = undefined;
    clearInterval(this.#heartbeat);
    end?.abort();
    await done;
  }
}
