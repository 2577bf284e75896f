import { type FSWatcher, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { systemClock } from '../host/clock.js';
import { isMissing, storeError } from './files/files.js';
import { fleetLayout, storeLayout } from './layout.js';

/** How often to look for a store that does not exist yet, in milliseconds. */
const absentMs = 1_000;

/** Watches the store by inotify: two directories per fleet, independent of the number of members. */
export class FleetWatch {
  readonly #root: string;
  readonly #onChange: (fleet: string) => void;
  readonly #watchers = new Map<string, FSWatcher>();
  #fail: (error: CowherdError) => void = () => undefined;

  constructor(root: string, onChange: (fleet: string) => void) {
    this.#root = root;
    this.#onChange = onChange;
  }

  /** Until the signal. @throws STORE_FAILED */
  async run(signal: AbortSignal): Promise<void> {
    const { fleets } = storeLayout(this.#root);
    // The first spawn creates it.
    for (let names = await listIfThere(fleets); !signal.aborted; names = await listIfThere(fleets)) {
      if (names !== undefined) return this.#watchAll(fleets, names, signal);
      await systemClock.sleep(absentMs, signal);
    }
  }

  async #watchAll(fleets: string, names: readonly string[], signal: AbortSignal): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
        this.#fail = reject;
        this.#watch(fleets, (name) => this.#notice(fleetOf(name)));
        for (const name of names.filter((one) => !one.startsWith('.'))) this.#notice(name);
      });
    } finally {
      for (const watcher of this.#watchers.values()) watcher.close();
    }
  }

  /** A fleet or its lock was created, changed or removed. */
  #notice(fleet: string): void {
    const { directory, checkpoints } = fleetLayout(this.#root, fleet);
    const tell = (): void => this.#onChange(fleet);
    this.#watch(directory, () => this.#notice(fleet));
    this.#watch(checkpoints, tell);
    tell();
  }

  /** Does nothing if the directory is missing or already watched. A removed one is forgotten. */
  #watch(directory: string, onName: (name: string) => void): void {
    if (this.#watchers.has(directory)) return;
    try {
      const watcher = watch(directory, (_event, name) => {
        // The directory itself was removed.
        if (name === basename(directory)) this.#forget(directory);
        onName(name ?? '');
      });
      watcher.on('error', () => this.#forget(directory));
      this.#watchers.set(directory, watcher);
    } catch (cause) {
      if (isMissing(cause)) return;
      this.#fail(
        new CowherdError('STORE_FAILED', `Cannot watch ${directory}: ${(cause as Error).message}`, {
          hint: 'The kernel limits watches per user. Raise the limit: sudo sysctl fs.inotify.max_user_watches=524288',
          cause,
        }),
      );
    }
  }

  #forget(directory: string): void {
    this.#watchers.get(directory)?.close();
    this.#watchers.delete(directory);
  }
}

/** `lab`, also for `.lab.lock`, whose holder may have changed. */
function fleetOf(name: string): string {
  return /^\.(.+)\.lock$/.exec(name)?.[1] ?? name;
}

async function listIfThere(directory: string): Promise<string[] | undefined> {
  return readdir(directory).catch((cause: unknown) => {
    if (isMissing(cause)) return undefined;
    throw storeError(`read ${directory}`, cause);
  });
}
