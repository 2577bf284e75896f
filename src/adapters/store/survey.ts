import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rmdir } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { namePattern } from '../../core/names.js';
import type { StoreEntry, StoreRoom, StoreSurvey } from '../../ports/index.js';
import type { Readers } from '../host/readers.js';
import { temporaryName } from './files/atomic-write.js';
import { allocatedBytes, isMissing, listDirectory, storeError } from './files/files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { copyPrefix, partialName, storeLayout, unrecordedPrefix } from './layout.js';
import { restrictShared } from './memory-split.js';

/**
 * The meaning of a file name, by the first pattern that matches; its group is the stem. Paths are relative to the owner's directory.
 * `private` files are for their owner and QEMU only.
 */
type Rule = readonly [RegExp, StoreEntry['role'], 'private'?];

/** Left beside the file by an interrupted atomic write. */
const temporary: Rule = [new RegExp(`^(?:seeds/|nvram/|ssh/|checkpoints/)?(${temporaryName.source.slice(1, -1)})$`), 'leftover'];

const rules: Record<StoreRoom, readonly Rule[]> = {
  bases: [
    [new RegExp(`^(${partialName.source.slice(1, -1)})$`), 'leftover'],
    [new RegExp(`^\\${unrecordedPrefix}([0-9a-f]{12})\\.(?:qcow2|raw)$`), 'state'],
    temporary,
    [/^([0-9a-f]{12})\.json$/, 'state'],
    [/^([0-9a-f]{12})\.(?:qcow2|raw)$/, 'image', 'private'],
    [/^([0-9a-f]{12})\.memory$/, 'companion', 'private'],
    [/^([0-9a-f]{12})\.ram$/, 'memory', 'private'],
  ],
  fleets: [
    temporary,
    [/^(secrets\.json|ssh\/id_ed25519)$/, 'state', 'private'],
    [/^((?:fleet|operation|freeze)\.json|operation\.log|history\.jsonl)$/, 'state'],
    [
      /^((?:domain-[0-9a-f]{12}\.xml|(?:user-data|user-data-raw|meta-data|network-config)-[0-9a-f]{12})\.hbs|nvram-[0-9a-f]{12}\.fd)$/,
      'state',
      'private',
    ],
    [/^(seeds\/placed\.log|ssh\/known_hosts)$/, 'state'],
    [new RegExp(`^overlays/(\\.fresh-.*|\\${copyPrefix}.*|.*\\.qcow2\\.new)$`), 'leftover'],
    [/^seeds\/(.*)\.iso\.new$/, 'leftover'],
    [/^overlays\/([^/]+)\.qcow2$/, 'disk', 'private'],
    [/^seeds\/([^/]+)\.iso$/, 'companion', 'private'],
    [/^nvram\/([^/]+)\.fd$/, 'companion', 'private'],
    [/^checkpoints\/([^/]+)\.json$/, 'companion'],
    [/^unmade\/([^/]+)$/, 'companion'],
    [/^logs\/([^/]+?)\.log(?:\.\d)?$/, 'companion', 'private'],
    [/^ssh\/([^/]+)\.known_hosts$/, 'companion'],
  ],
  snapshots: [
    temporary,
    [/^((?:snapshots|journal)\.json)$/, 'state', 'private'],
    [/^(\d+-[^/]+\/[^/]+)\.qcow2$/, 'disk', 'private'],
    [/^(\d+-[^/]+\/nvram)$/, 'companion', 'private'],
  ],
  probes: [[/^(cowherd-probe-[0-9a-f]{8})\.raw$/, 'leftover']],
};

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class StoreDirectory implements StoreSurvey {
  readonly #root: string;
  readonly #readers: Readers;

  constructor(root: string, readers: Readers) {
    this.#root = root;
    this.#readers = readers;
  }

  async owners(room: StoreRoom): Promise<string[]> {
    const pattern = room === 'snapshots' ? uuidPattern : namePattern;
    return room === 'probes' ? [] : (await listDirectory(storeLayout(this.#root)[room])).filter((name) => pattern.test(name)).sort();
  }

  async entries(room: StoreRoom, owner?: string): Promise<StoreEntry[]> {
    const directory = this.#directory(room, owner);
    try {
      const found = await readdir(directory, { recursive: owner !== undefined, withFileTypes: true });
      // Lock files, and other files beside the directories, have no owner.
      const files = found.filter((entry) => !entry.isDirectory() && !/^\..*lock$/.test(entry.name));
      const entries = await Promise.all(files.map((entry) => this.#describe(room, directory, join(entry.parentPath, entry.name))));
      return withLooseLog(entries.filter((entry) => entry !== undefined)).sort((a, b) => a.path.localeCompare(b.path));
    } catch (cause) {
      if (isMissing(cause)) return [];
      throw storeError(`read the directory ${directory}`, cause);
    }
  }

  async remove(room: StoreRoom, { path, role }: StoreEntry): Promise<void> {
    if (role !== 'leftover') throw new Error(`${path} is no leftover`);
    await new SafeUnlinker(storeLayout(this.#root)[room]).unlink(path);
  }

  async removeEmpty(room: StoreRoom, owner: string): Promise<boolean> {
    const directory = this.#directory(room, owner);
    try {
      const inner = (await readdir(directory, { withFileTypes: true })).filter((entry) => entry.isDirectory());
      for (const entry of inner) await rmdir(join(directory, entry.name));
      await rmdir(directory);
      return true;
    } catch (cause) {
      if (isMissing(cause)) return true;
      if ((cause as NodeJS.ErrnoException).code === 'ENOTEMPTY') return false;
      throw storeError(`remove ${directory}`, cause);
    }
  }

  async protect({ path, role, mode }: StoreEntry): Promise<void> {
    let handle: FileHandle | undefined;
    try {
      // The disk of a running guest belongs to QEMU, and only root can change it.
      handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      if (role === 'memory') await restrictShared(handle, path, this.#readers, (mode & 0o222) !== 0);
      else if (role !== 'image') await handle.chmod(mode & 0o700);
      else if (!(await this.#readers.restrict(handle, path, false))) {
        throw new CowherdError('STORE_FAILED', "QEMU reads it as another user, and this user may not give it to QEMU's group", {
          hint: await this.#readers.advice(storeLayout(this.#root).bases),
        });
      }
    } catch (cause) {
      throw storeError(`restrict who may read ${path}`, cause);
    } finally {
      await handle?.close();
    }
  }

  /** @returns undefined if it was removed meanwhile */
  async #describe(room: StoreRoom, directory: string, path: string): Promise<StoreEntry | undefined> {
    const stats = await lstat(path).catch(() => undefined);
    if (stats === undefined) return undefined;
    const name = relative(directory, path);
    const [pattern, role = 'unknown', isPrivate] = (stats.isFile() && rules[room].find(([pattern]) => pattern.test(name))) || [];
    const readers = isPrivate === undefined ? undefined : await this.#judge(role, path, stats);
    return {
      path,
      role,
      stem: pattern?.exec(name)?.[1] ?? basename(path),
      bytes: allocatedBytes(stats),
      mode: stats.mode & 0o7777,
      ...(readers === undefined ? {} : { readers }),
      modifiedAt: stats.mtimeMs,
    };
  }

  async #judge(role: StoreEntry['role'], path: string, stats: Stats): Promise<StoreEntry['readers']> {
    if (role === 'image' || role === 'memory') return this.#readers.judge(stats, await lstat(dirname(path)));
    // libvirt gives these to QEMU's user or reads them as root.
    return (stats.mode & 0o077) === 0 ? 'fine' : 'exposed';
  }

  #directory(room: StoreRoom, owner: string | undefined): string {
    const { [room]: directory } = storeLayout(this.#root);
    return owner === undefined ? directory : join(directory, owner);
  }
}

/** The log of an operation is removed after its intent: alone, it is a leftover of a killed run. */
function withLooseLog(entries: readonly StoreEntry[]): StoreEntry[] {
  const hasIntent = entries.some(({ path, role }) => role === 'state' && basename(path) === 'operation.json');
  return entries.map((entry) =>
    entry.role === 'state' && basename(entry.path) === 'operation.log' && !hasIntent ? { ...entry, role: 'leftover' } : entry,
  );
}
