import type { ReadyStage } from '../../core/guest/stages.js';
import type { ProgressEvent } from '../../core/progress.js';
import { doingWord, stageOrder } from '../../core/stage-words.js';
import { bytes, elapsed } from './format.js';
import { shorten, truncate } from './layout.js';
import { paint } from './style.js';

/** The progress of one kind of work, for a progress bar or a line in a log. */

type StageEvent = Extract<ProgressEvent, { kind: 'stage' }>;
export type WorkEvent = Exclude<ProgressEvent, { kind: 'note' }>;

export class Work {
  readonly label: string;
  /** Sort order of the bars: the order of stages. */
  readonly order: number;
  readonly #began: number;
  #ended: number | undefined;
  #latest: WorkEvent;
  /** Sum of earlier runs of the same stage: a rebase repeats it for each batch. */
  #earlier = { done: 0, total: 0, failed: 0 };

  constructor(event: WorkEvent, now: number) {
    this.label = event.kind === 'stage' ? doingWord(event.stage) : event.what.replace(/\s+/g, ' ');
    this.order = event.kind === 'stage' ? stageOrder(event.stage) : -1;
    this.#began = now;
    this.#latest = event;
    this.#end(now);
  }

  update(event: WorkEvent, now: number): void {
    if (event.kind === 'stage' && this.#latest.kind === 'stage' && isNewRun(event, this.#latest)) this.#earlier = this.#sum();
    this.#latest = event;
    this.#end(now);
  }

  /** All members are done or failed. */
  get isOver(): boolean {
    return this.#ended !== undefined;
  }

  /** From 0 to 1. */
  get share(): number {
    if (this.#latest.kind === 'bytes')
      return this.#latest.totalBytes === undefined ? 0 : ratio(this.#latest.doneBytes, this.#latest.totalBytes);
    const { done, total } = this.#sum();
    return ratio(done, total);
  }

  /** `2/6 · 0:33 · ssh: 003 004`. */
  text(now: number): string {
    const time = Math.floor(((this.#ended ?? now) - this.#began) / 1000);
    const event = this.#latest;
    if (event.kind === 'bytes') return bytes(event.doneBytes) + (event.totalBytes === undefined ? '' : ` of ${bytes(event.totalBytes)}`);
    const { done, total, failed } = this.#sum();
    const waitsFor = pendingText(event.pending);
    return [
      `${done}/${total}`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(time > 0 || waitsFor !== '' ? [elapsed(time)] : []),
      ...(waitsFor === '' ? [] : [waitsFor]),
    ].join(' · ');
  }

  #sum(): { done: number; total: number; failed: number } {
    const { done, total, failed } = this.#earlier;
    const { done: now, total: all, failed: lost = 0 } = this.#latest as StageEvent;
    return { done: done + now, total: total + all, failed: failed + lost };
  }

  #end(now: number): void {
    const event = this.#latest;
    const left =
      event.kind === 'bytes'
        ? (event.totalBytes ?? Number.POSITIVE_INFINITY) - event.doneBytes
        : event.total - event.done - (event.failed ?? 0);
    this.#ended = left > 0 ? undefined : (this.#ended ?? now);
  }
}

function isNewRun(event: StageEvent, latest: StageEvent): boolean {
  const isOver = latest.done + (latest.failed ?? 0) >= latest.total;
  return event.done < latest.done || (isOver && event.done <= latest.done);
}

function ratio(done: number, total: number): number {
  return total === 0 ? 1 : Math.min(1, done / total);
}

/** Members named per stage; the rest are counted. */
const namedPending = 8;

/** `ssh: 003 004 · agent: 005`: the numbers of the members, as in their names. */
function pendingText(pending: ReadonlyMap<ReadyStage, ReadonlySet<string>> | undefined): string {
  return [...(pending ?? [])]
    .filter(([, names]) => names.size > 0)
    .map(([stage, names]) => {
      const shown = [...names]
        .sort()
        .slice(0, namedPending)
        .map((name) => /\d+$/.exec(name)?.[0] ?? name);
      return `${stage}: ${shown.join(' ')}${names.size > namedPending ? ` +${names.size - namedPending}` : ''}`;
    })
    .join(' · ');
}

const barWidth = { most: 20, least: 10 };
/** Columns reserved for the text next to a bar. */
const textWidth = 58;

/** One line for each kind of work, each as wide as the terminal at most. */
export function renderBars(all: Iterable<Work>, columns: number, now: number): string {
  // Leave the last column free: some terminals wrap there.
  const width = columns - 1;
  const bar = Math.max(barWidth.least, Math.min(barWidth.most, width - textWidth));
  return [...all]
    .sort((a, b) => a.order - b.order)
    .map((work) => {
      const filled = Math.floor(work.share * bar);
      const label = shorten(work.label, Math.max(16, width - bar - 24));
      const begin = `${'█'.repeat(filled)}${'░'.repeat(bar - filled)} ${label}`;
      // Cut before coloring, so that no color mark is cut.
      return truncate(`${begin} ${work.text(now)}`, width).replace(/ · \d+ failed/, (text) => paint('bad', text));
    })
    .join('\n');
}
