import type { Clock } from '../../ports/machine.js';
import { type WatchPorts, watchEvents } from './watch.js';

/** Waits for changes of fleets, for a view that is drawn again. */
export class Changes {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #hasChanged = false;
  #wake: () => void = () => undefined;

  constructor(ports: WatchPorts, fleets: readonly string[], signal: AbortSignal) {
    this.#clock = ports.clock;
    this.#signal = signal;
    const onEvent = (): void => {
      this.#hasChanged = true;
      this.#wake();
    };
    // If changes cannot be watched, e.g. because the kernel allows no more watches, the view is still drawn from time to time.
    watchEvents(ports, { fleets, signal, onEvent }).catch(() => undefined);
  }

  /** Waits at least, then until something has changed since the last call, and at most the given times in milliseconds. */
  async next({ least, most }: { least: number; most: number }): Promise<void> {
    await this.#clock.sleep(least, this.#signal);
    const changed = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (!this.#hasChanged) await Promise.race([changed, this.#clock.sleep(most - least, this.#signal)]);
    this.#hasChanged = false;
  }
}
