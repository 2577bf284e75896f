/** What can go wrong with a task. */
export type TaskVerb = 'create' | 'rebuild' | 'start' | 'stop' | 'delete' | 'createImage';

interface Mishap {
  verb: TaskVerb;
  /** undefined: of any server. */
  server: string | undefined;
  /** error: the server gets the status ERROR. stuck: the task never ends. */
  how: 'error' | 'stuck';
  message: string;
}

/** Tasks that will fail, as the test asked for. */
export class Mishaps {
  readonly #next: Mishap[] = [];

  add(mishap: Mishap): void {
    this.#next.push(mishap);
  }

  /** The first one for this task; it happens once. */
  take(verb: TaskVerb, server: string): Mishap | undefined {
    const index = this.#next.findIndex((one) => one.verb === verb && (one.server === undefined || one.server === server));
    return index === -1 ? undefined : this.#next.splice(index, 1)[0];
  }

  /** Those that did not happen yet. */
  get pending(): number {
    return this.#next.length;
  }
}
