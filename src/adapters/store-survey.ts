import { chmod, lstat, readdir, rmdir } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { namePattern } from '../core/names.js';
import type { StoreEntry, StoreRoom, StoreSurvey } from '../ports.js';
import { allocatedBytes, isMissing, listDirectory, Shears, storeError } from './files.js';
import { copyPrefix, storeLayout, unrecordedPrefix } from './layout.js';

/** What a name means, by the first pattern that fits; its group is the stem. Paths count from the directory of the owner. */
type Rule = readonly [RegExp, StoreEntry['role']];

/** What an atomic write that was killed leaves beside the file. */
const temporary: Rule = [/^(?:seeds\/|nvram\/|ssh\/|checkpoints\/)?(\.cowherd-\d+-[^/]*)$/, 'leftover'];

const rules: Record<StoreRoom, readonly Rule[]> = {
  bases: [
    [/^\.import-(\d+)\.partial$/, 'leftover'],
    [new RegExp(`^\\${unrecordedPrefix}([0-9a-f]{12})\\.(?:qcow2|raw)$`), 'state'],
    temporary,
    [/^([0-9a-f]{12})\.json$/, 'state'],
    [/^([0-9a-f]{12})\.(?:qcow2|raw)$/, 'image'],
    [/^([0-9a-f]{12})\.memory$/, 'companion'],
  ],
  fleets: [
    temporary,
    [/^((?:fleet|secrets|operation|freeze)\.json|operation\.log)$/, 'state'],
    [/^((?:domain-[0-9a-f]{12}\.xml|(?:user-data|meta-data|network-config)-[0-9a-f]{12})\.hbs|nvram-[0-9a-f]{12}\.fd)$/, 'state'],
    [/^(seeds\/placed\.log|ssh\/(?:id_ed25519|known_hosts))$/, 'state'],
    [new RegExp(`^overlays/(\\.fresh-.*|\\${copyPrefix}.*|.*\\.qcow2\\.new)$`), 'leftover'],
    [/^seeds\/(.*)\.iso\.new$/, 'leftover'],
    [/^overlays\/([^/]+)\.qcow2$/, 'disk'],
    [/^seeds\/([^/]+)\.iso$/, 'companion'],
    [/^nvram\/([^/]+)\.fd$/, 'companion'],
    [/^checkpoints\/([^/]+)\.json$/, 'companion'],
    [/^unmade\/([^/]+)$/, 'companion'],
    [/^logs\/([^/]+?)\.log(?:\.\d)?$/, 'companion'],
    [/^ssh\/([^/]+)\.known_hosts$/, 'companion'],
  ],
  snapshots: [
    temporary,
    [/^((?:snapshots|journal)\.json)$/, 'state'],
    [/^(\d+-[^/]+\/[^/]+)\.qcow2$/, 'disk'],
    [/^(\d+-[^/]+\/nvram)$/, 'companion'],
  ],
  probes: [[/^(cowherd-probe-[0-9a-f]{8})\.raw$/, 'leftover']],
};

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class StoreDirectory implements StoreSurvey {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async owners(room: StoreRoom): Promise<string[]> {
    const pattern = room === 'snapshots' ? uuidPattern : namePattern;
    return room === 'probes' ? [] : (await listDirectory(storeLayout(this.#root)[room])).filter((name) => pattern.test(name)).sort();
  }

  async entries(room: StoreRoom, owner?: string): Promise<StoreEntry[]> {
    const directory = this.#directory(room, owner);
    try {
      const found = await readdir(directory, { recursive: owner !== undefined, withFileTypes: true });
      // Locks, and what a room holds beside its directories: not a file of anybody's.
      const files = found.filter((entry) => !entry.isDirectory() && !/^\..*lock$/.test(entry.name));
      const entries = await Promise.all(files.map((entry) => describe(room, directory, join(entry.parentPath, entry.name))));
      return withLooseLog(entries.filter((entry) => entry !== undefined)).sort((a, b) => a.path.localeCompare(b.path));
    } catch (cause) {
      if (isMissing(cause)) return [];
      throw storeError(`read the directory ${directory}`, cause);
    }
  }

  async remove(room: StoreRoom, { path, role }: StoreEntry): Promise<void> {
    if (role !== 'leftover') throw new Error(`${path} is no leftover`);
    await new Shears(storeLayout(this.#root)[room]).unlink(path);
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

  async protect({ path }: StoreEntry): Promise<void> {
    await chmod(path, 0o444).catch((cause: unknown) => {
      throw storeError(`make ${path} read-only`, cause);
    });
  }

  #directory(room: StoreRoom, owner: string | undefined): string {
    const { [room]: directory } = storeLayout(this.#root);
    return owner === undefined ? directory : join(directory, owner);
  }
}

/** The log of an operation goes after its intent: on its own it is what a killed run left. */
function withLooseLog(entries: readonly StoreEntry[]): StoreEntry[] {
  const hasIntent = entries.some(({ path, role }) => role === 'state' && basename(path) === 'operation.json');
  return entries.map((entry) =>
    entry.role === 'state' && basename(entry.path) === 'operation.log' && !hasIntent ? { ...entry, role: 'leftover' } : entry,
  );
}

/** @returns undefined where it went away meanwhile */
async function describe(room: StoreRoom, directory: string, path: string): Promise<StoreEntry | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined) return undefined;
  const name = relative(directory, path);
  const rule = stats.isFile() ? rules[room].find(([pattern]) => pattern.test(name)) : undefined;
  return {
    path,
    role: rule?.[1] ?? 'unknown',
    stem: rule?.[0].exec(name)?.[1] ?? basename(path),
    bytes: allocatedBytes(stats),
    mode: stats.mode & 0o7777,
    modifiedAt: stats.mtimeMs,
  };
}
