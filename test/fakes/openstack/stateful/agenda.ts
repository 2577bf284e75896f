interface Entry {
  at: number;
  order: number;
  owner: object;
  run(at: number): void;
}

/** What happens later, in the order of its times. An entry may add further ones. */
export class Agenda {
  #entries: Entry[] = [];
  #added = 0;

  /** @param at ms of the cloud's time @param owner what it happens to, for {@link cancel} */
  add(at: number, owner: object, run: (at: number) => void): void {
    this.#entries.push({ at, order: this.#added++, owner, run });
  }

  cancel(owner: object): void {
    this.#entries = this.#entries.filter((entry) => entry.owner !== owner);
  }

  /** Whether anything will happen to it. */
  has(owner: object): boolean {
    return this.#entries.some((entry) => entry.owner === owner);
  }

  /** Runs everything that is due. */
  runUntil(now: number): void {
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.at > now) return;
      this.#entries.splice(this.#entries.indexOf(next), 1);
      next.run(next.at);
    }
  }

  /** Time of the last entry so far; undefined if there is none. */
  get end(): number | undefined {
    return this.#entries.length === 0 ? undefined : Math.max(...this.#entries.map(({ at }) => at));
  }

  #next(): Entry | undefined {
    let first: Entry | undefined;
    for (const entry of this.#entries) {
      if (first === undefined || entry.at < first.at || (entry.at === first.at && entry.order < first.order)) first = entry;
    }
    return first;
  }
}
