import { type Exchange, isRead, keyOf, type Recording } from './recording.js';

/**
 * Finds the recorded reply to a request. Changes move forward in the recording. Reads are answered as they were after the last change:
 * one reply after the other, and the last one from then on.
 */
export class Replay {
  /** Index of the last change. */
  #position = -1;
  readonly #reads = new Map<string, number>();

  constructor(private readonly recording: Recording) {}

  /** undefined: it was not recorded, or was already answered as often as recorded. */
  answer(request: Pick<Exchange, 'service' | 'method' | 'path' | 'request'>): Exchange | undefined {
    const key = keyOf(request);
    return isRead(request) ? this.#read(key) : this.#change(key);
  }

  #change(key: string): Exchange | undefined {
    const { exchanges } = this.recording;
    const index = exchanges.findIndex((exchange, at) => at > this.#position && !isRead(exchange) && keyOf(exchange) === key);
    if (index === -1) return undefined;
    this.#position = index;
    this.#reads.clear();
    return exchanges[index];
  }

  #read(key: string): Exchange | undefined {
    const { exchanges } = this.recording;
    const after = exchanges.findIndex((exchange, at) => at > this.#position && !isRead(exchange));
    const end = after === -1 ? exchanges.length : after;
    const matches = (from: number, to: number): Exchange[] => exchanges.slice(from, to).filter((one) => isRead(one) && keyOf(one) === key);
    const now = matches(this.#position + 1, end);
    const count = this.#reads.get(key) ?? 0;
    this.#reads.set(key, count + 1);
    // Not read between these two changes in the recording: as before, or as later.
    return now[Math.min(count, now.length - 1)] ?? matches(0, this.#position + 1).at(-1) ?? matches(end, exchanges.length)[0];
  }
}
