import { constants } from 'node:fs';
import { copyFile, lstat, open, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { parseState } from '../../core/fleet/record.js';
import type { SnapshotFiles } from '../../core/snapshot/plan.js';
import { type SnapshotJournal, type SnapshotRecord, snapshotJournalSchema, snapshotRecordSchema } from '../../core/snapshot/snapshot.js';
import type { SnapshotStore } from '../../ports/index.js';
import { isTemporary, writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { isMissing, listDirectory, storeError } from './files/files.js';
import { assertDirectory, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { overlayEnding, snapshotLayout, storeLayout } from './layout.js';
import { FileLock, type LockPolicy, requestOf } from './lock.js';

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class SnapshotDirectory implements SnapshotStore {
  readonly #root: string;
  readonly #held = new Set<FileLock>();
  #lockChanges = 0;

  readonly #locking: LockPolicy;

  constructor(root: string, locking: LockPolicy = {}) {
    this.#root = root;
    this.#locking = locking;
  }

  /** Descriptors of the locks that are held, for child processes. */
  heldDescriptors(): number[] {
    return [...this.#held].map((lock) => lock.descriptor);
  }

  /** Increases whenever a lock is taken or released. */
  get lockChanges(): number {
    return this.#lockChanges;
  }

  async list(): Promise<string[]> {
    return (await listDirectory(storeLayout(this.#root).snapshots)).filter((name) => uuidPattern.test(name)).sort();
  }

  async read(uuid: string): Promise<SnapshotRecord | undefined> {
    const { record } = snapshotLayout(this.#root, uuid);
    const text = await readIfThere(record);
    if (text === undefined) return undefined;
    return assertOf(uuid, parseState(snapshotRecordSchema, uuid, 'snapshots.json', text, mendHint(record)), record);
  }

  async write(record: SnapshotRecord): Promise<void> {
    const { directory, record: path } = snapshotLayout(this.#root, record.uuid);
    if (record.levels.length > 0) await writePrivate(path, record);
    else await new SafeUnlinker(directory).unlink(path);
  }

  async lock(uuid: string, name: string): Promise<{ release(): Promise<void> }> {
    await makeDirectory(storeLayout(this.#root).snapshots);
    const { directory, lock: path } = snapshotLayout(this.#root, uuid);
    await assertDirectory(directory);
    const subject = `The snapshot record of ${name}`;
    const lock = await FileLock.take(path, subject, requestOf(this.#locking, subject));
    this.#held.add(lock);
    this.#lockChanges++;
    return {
      release: async () => {
        this.#held.delete(lock);
        this.#lockChanges++;
        // A domain without snapshots needs no lock, nor does one whose last command was killed at the very end.
        try {
          if ((await lstat(directory).catch(isMissing)) === true) await new SafeUnlinker(dirname(path)).unlink(path);
        } finally {
          await lock.release();
        }
      },
    };
  }

  directory(uuid: string): string {
    return snapshotLayout(this.#root, uuid).directory;
  }

  files(uuid: string): SnapshotFiles {
    const { level, nvram } = snapshotLayout(this.#root, uuid);
    return {
      overlay: (of, target, generation) => join(level(of), `${target}${generation === 1 ? '' : `.${generation}`}${overlayEnding}`),
      nvram,
      generationOf: (overlay) => Number(/\.(\d+)\.qcow2$/.exec(basename(overlay))?.[1] ?? 1),
    };
  }

  async makeRoom(path: string): Promise<void> {
    await makeDirectory(dirname(path));
    await assertDirectory(dirname(path));
  }

  async keep(from: string, to: string): Promise<void> {
    try {
      // Left by an interrupted run. Removed instead of overwritten, since it could have another link.
      await new SafeUnlinker(storeLayout(this.#root).snapshots).unlink(to);
      await copyFile(from, to, constants.COPYFILE_EXCL);
      const handle = await open(to, constants.O_RDWR | constants.O_NOFOLLOW);
      await handle.chmod(0o600);
      await handle.sync();
      await handle.close();
    } catch (cause) {
      throw storeError(`copy ${from} to ${to}`, cause);
    }
  }

  async remove(uuid: string, paths: readonly string[]): Promise<void> {
    const { directory } = snapshotLayout(this.#root, uuid);
    const unlinker = new SafeUnlinker(directory);
    for (const path of paths) await unlinker.unlink(path);
    // A directory that is not empty has foreign files, or files that a level still needs.
    for (const room of new Set(paths.map(dirname))) if (room !== directory) await rmdir(room).catch(() => undefined);
  }

  async journal(uuid: string): Promise<SnapshotJournal | undefined> {
    const { journal } = snapshotLayout(this.#root, uuid);
    const text = await readIfThere(journal);
    if (text === undefined) return undefined;
    return assertOf(uuid, parseState(snapshotJournalSchema, uuid, 'journal.json', text, mendHint(journal)), journal);
  }

  async writeJournal(journal: SnapshotJournal): Promise<void> {
    const { directory, journal: path } = snapshotLayout(this.#root, journal.uuid);
    await makeDirectory(directory);
    await writePrivate(path, journal);
  }

  async endJournal(uuid: string): Promise<void> {
    const { directory, journal, record } = snapshotLayout(this.#root, uuid);
    const unlinker = new SafeUnlinker(directory);
    await unlinker.unlink(journal);
    for (const name of (await listDirectory(directory)).filter(isTemporary)) await unlinker.unlink(join(directory, name));
    if ((await readIfThere(record)) !== undefined) return;
    await rmdir(directory).catch(() => undefined);
  }
}

/**
 * The state in a domain's directory must belong to that domain; another's would switch its disks to wrong files.
 * @throws STATE_DAMAGED
 */
function assertOf<T extends { uuid: string }>(uuid: string, state: T, path: string): T {
  if (state.uuid === uuid) return state;
  throw new CowherdError('STATE_DAMAGED', `${basename(path)} of ${uuid} belongs to another domain, ${state.uuid}`, {
    hint: `If it was put there by mistake, restore the right one in its place. ${mendHint(path)}`,
  });
}

function mendHint(path: string): string {
  return `Check ${path}: it lists the files of the snapshots. cowherd does not touch the domain or its disks until it can be read.`;
}

/** The XML in it may contain passwords. */
async function writePrivate(path: string, document: unknown): Promise<void> {
  try {
    await writeJson(path, document, 0o600);
  } catch (cause) {
    throw storeError(`write ${path}`, cause);
  }
}
