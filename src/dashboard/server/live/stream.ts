import type { ServerResponse } from 'node:http';

/** Bytes that a client has not read yet. */
const mostUnsent = 1024 * 1024;

/** The writing side of a connection. */
export type Sink = Pick<ServerResponse, 'write' | 'end' | 'writableLength' | 'once' | 'on'>;

/** One page that listens. If it does not read, it misses changes, and gets the whole state once it has read the rest. */
export class StreamClient {
  readonly #sink: Sink;
  readonly #state: () => { id: string; text: string };
  #isBehind = false;
  #isOpen = false;

  /** @param state the whole state at the time of the call */
  constructor(sink: Sink, state: () => { id: string; text: string }) {
    this.#sink = sink;
    this.#state = state;
  }

  /** Begins with what the page has missed, or with the state. */
  open(missed: ReadonlyArray<{ id: string; text: string }> | undefined): void {
    this.#isOpen = true;
    if (missed === undefined) this.#sendState();
    else for (const { id, text } of missed) this.sendChange(id, text);
  }

  #sendState(): void {
    const { id, text } = this.#state();
    this.#write('state', id, text);
  }

  sendChange(id: string, text: string): void {
    if (this.#isBehind || !this.#isOpen) return;
    if (this.#sink.writableLength <= mostUnsent) {
      this.#write('change', id, text);
      return;
    }
    this.#isBehind = true;
    this.#sink.once('drain', () => {
      this.#isBehind = false;
      this.#sendState();
    });
  }

  /** Keeps the connection open, and shows the browser that it is. */
  beat(): void {
    if (this.#sink.writableLength === 0) this.#sink.write(': beat\n\n');
  }

  end(): void {
    this.#sink.end();
  }

  #write(event: string, id: string, text: string): void {
    this.#sink.write(`id: ${id}\nevent: ${event}\ndata: ${text}\n\n`);
  }
}
