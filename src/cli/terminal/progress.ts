import type { ProgressListener } from '../../core/progress.js';
import { seconds } from './format.js';
import { page, widthOf } from './layout.js';
import { withFlags } from './repeated-flags.js';
import { forStream } from './style.js';
import { renderBars, Work, type WorkEvent } from './work.js';

export interface Progress {
  listener: ProgressListener;
  /** Call it before anything else is written: bars stay as they are, and further output appears below them. */
  settle(): void;
  /** Settles, and shows no further progress. */
  stop(): void;
}

export const noProgress: Progress = { listener: () => undefined, settle: () => undefined, stop: () => undefined };

/** Live bars on a terminal, plain lines elsewhere; always on stderr. After a write error, progress is dropped. */
export function showProgress(stream: NodeJS.WriteStream): Progress {
  const shown = stream.isTTY && process.env.TERM !== 'dumb' ? new Bars(stream) : new Lines(stream);
  let isOver = false;
  const stop = (): void => {
    if (!isOver) shown.stop();
    isOver = true;
  };
  stream.on('error', stop);
  return {
    listener: (event) => {
      if (isOver) return;
      if (event.kind === 'note') shown.note(event.text);
      else shown.work(event);
    },
    settle: () => {
      if (!isOver) shown.settle();
    },
    stop: () => {
      stop();
      stream.off('error', stop);
    },
  };
}

interface Shown {
  note(text: string): void;
  work(event: WorkEvent): void;
  settle(): void;
  stop(): void;
}

/** Shorter work gets no bar. */
const patienceMs = 200;
/** Minimum time between two frames: there may be hundreds of events. */
const frameMs = 100;
/** Elapsed times are updated even without events. */
const tickMs = 1_000;

/** Writes only notes until there is a bar to draw. */
class Bars implements Shown {
  readonly #stream: NodeJS.WriteStream;
  readonly #all = new Map<string, Work>();
  #loading: Promise<void> | undefined;
  #frame: ReturnType<typeof import('log-update').createLogUpdate> | undefined;
  #isDrawn = false;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  note(text: string): void {
    if (this.#isDrawn) this.#frame?.clear();
    // Overwrite the ^C that the terminal shows.
    this.#stream.write(`\r${forStream(page(text, this.#stream), this.#stream)}\n`);
    if (this.#isDrawn) this.#draw();
  }

  work(event: WorkEvent): void {
    follow(this.#all, event);
    // Loading it takes a tenth of the time of a short command, which draws no bar.
    this.#loading ??= import('log-update').then(({ createLogUpdate }) => {
      this.#frame = createLogUpdate(this.#stream);
    });
    this.#schedule(this.#isDrawn ? frameMs : patienceMs);
  }

  settle(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueAt = Number.POSITIVE_INFINITY;
    if (this.#isDrawn) {
      this.#draw();
      this.#frame?.done();
      this.#isDrawn = false;
    }
    this.#all.clear();
  }

  stop(): void {
    this.settle();
  }

  /** Keeps the earliest requested frame. */
  #schedule(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(() => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.#draw();
      this.#schedule(this.#isDrawn ? tickMs : frameMs);
    }, ms).unref();
  }

  #draw(): void {
    if (this.#frame === undefined) return;
    this.#isDrawn = true;
    this.#frame(forStream(renderBars(this.#all.values(), widthOf(this.#stream) ?? 80, performance.now()), this.#stream));
  }
}

/** Minimum time between lines while work progresses, and the time after which a line is written even if it does not. */
const quietMs = 2_000;
const silentMs = 30_000;

class Lines implements Shown {
  readonly #stream: NodeJS.WriteStream;
  readonly #began = performance.now();
  readonly #all = new Map<string, Work>();
  readonly #timer: NodeJS.Timeout;
  #spokeAt = this.#began;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#timer = setInterval(() => this.#tellWaiting(), silentMs / 6).unref();
  }

  note(text: string): void {
    this.#stream.write(`[${seconds((performance.now() - this.#began) / 1000)}] ${forStream(withFlags(text), this.#stream)}\n`);
  }

  work(event: WorkEvent): void {
    const work = follow(this.#all, event);
    const isSmall = event.kind === 'bytes' && event.totalBytes !== undefined && event.totalBytes < 64 * 1024 * 1024;
    const isDue = performance.now() - this.#spokeAt > quietMs;
    if (!isSmall && (work.isOver || isDue)) this.#tell(work);
  }

  settle(): void {
    this.#all.clear();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tellWaiting(): void {
    if (performance.now() - this.#spokeAt < silentMs) return;
    for (const work of this.#all.values()) if (!work.isOver) this.#tell(work);
  }

  #tell(work: Work): void {
    this.#spokeAt = performance.now();
    this.note(`${work.label}: ${work.text(this.#spokeAt)}`);
  }
}

/** @returns the work that the event belongs to */
function follow(all: Map<string, Work>, event: WorkEvent): Work {
  const key = event.kind === 'stage' ? event.stage : event.what;
  const known = all.get(key);
  if (known !== undefined) {
    known.update(event, performance.now());
    return known;
  }
  const work = new Work(event, performance.now());
  all.set(key, work);
  return work;
}
