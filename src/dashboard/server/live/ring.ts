/** The last messages, for pages that were disconnected briefly. */
export class Ring {
  readonly #most: { count: number; bytes: number };
  readonly #messages: Array<{ id: number; text: string }> = [];
  #bytes = 0;
  #last = 0;

  constructor(most = { count: 2_000, bytes: 4 * 1024 * 1024 }) {
    this.#most = most;
  }

  /** The id of the latest message; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** @returns its id */
  add(text: string): number {
    this.#last++;
    this.#messages.push({ id: this.#last, text });
    this.#bytes += text.length;
    let drop = 0;
    while (this.#messages.length - drop > this.#most.count || (this.#bytes > this.#most.bytes && drop < this.#messages.length)) {
      this.#bytes -= this.#messages[drop]?.text.length ?? 0;
      drop++;
    }
    if (drop > 0) this.#messages.splice(0, drop);
    return this.#last;
  }

  /** The messages after one; undefined if some of them are gone, or it was never sent. */
  after(id: number): Array<{ id: number; text: string }> | undefined {
    const first = this.#messages[0]?.id ?? this.#last + 1;
    if (id > this.#last || id < first - 1) return undefined;
    return this.#messages.slice(id - first + 1);
  }

  clear(): void {
    this.#messages.length = 0;
    this.#bytes = 0;
  }
}
