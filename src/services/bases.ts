import { type BaseImage, type BaseLayer, bringBackHint, formatBaseRef, goneDifference, sealDifferences } from '../core/base.js';
import { baseKey, childrenOf, layersOf } from '../core/base-chain.js';
import { CowherdError } from '../core/errors.js';
import { type GeneralisationWarning, generalisationWarnings } from '../core/generalisation.js';
import type { ImportRequest, ImportResult, Ports } from '../ports.js';
import { baseUsers, verifiedUsers } from './base-users.js';
import { chainDifferences, type WorkOptions } from './fleet-access.js';
import { memoryDifferences } from './warm/clones.js';

export interface BaseListing {
  name: string;
  ref: string;
  digest: string;
  format: string;
  virtualBytes: number;
  allocatedBytes: number;
  importedAt: string;
  path: string;
  /** Files that it is made of: 1 unless it is layered. */
  depth: number;
  /** Of a layered one: what is below it, nearest first. */
  layers: string[];
  /** The member whose disk it was made of, and what that stood on. */
  promotedFrom: { fleet: string; member: string; base: string } | null;
  /** Of a warm base: the memory that clones go on from, and whose it was. */
  memory: { domain: string; takenAt: string; memoryMiB: number; allocatedBytes: number } | null;
  /** Fleets that stand on it. */
  fleets: string[];
  /** What differs from the record; empty for an untouched image. */
  problems: string[];
}

export async function listBases(ports: Ports): Promise<{ bases: BaseListing[]; damaged: Array<{ path: string; reason: string }> }> {
  const { bases, damaged } = await ports.bases.list();
  const { users, unreadable } = await baseUsers(ports);
  return { bases: await Promise.all(bases.map((base) => describeBase(ports, base, users))), damaged: [...damaged, ...unreadable] };
}

/** Brings an image into the store without making a fleet on it. Also mends a base image that was touched: by the original file. */
export async function addBase(
  ports: Ports,
  request: Omit<ImportRequest, 'onProgress'>,
  { signal, onProgress }: WorkOptions,
): Promise<BaseListing & { how: ImportResult['how']; warning?: string; generalisation: GeneralisationWarning[] }> {
  const { base, how, warning } = await ports.bases.locked(
    () =>
      ports.bases.import({
        ...request,
        signal,
        onProgress: (progress) => onProgress?.({ kind: 'bytes', what: `importing ${request.path}`, ...progress }),
      }),
    signal,
  );
  // The image is in; that nobody can say who uses it is no reason to call that a failure.
  const { users } = await baseUsers(ports).catch(() => ({ users: new Map<string, string[]>() }));
  return {
    ...(await describeBase(ports, base, users)),
    how,
    ...(warning === undefined ? {} : { warning }),
    generalisation: await generalisationOf(ports, base),
  };
}

/** What its members would have in common and should not; nothing where the image cannot be read without booting it. */
export async function generalisationOf(
  ports: Pick<Ports, 'inspectGuestFiles'>,
  { path, format, backing }: BaseImage,
): Promise<GeneralisationWarning[]> {
  const facts = await ports.inspectGuestFiles(path, format, { backing });
  return facts === undefined ? [] : generalisationWarnings(facts);
}

export async function inspectBase(
  ports: Ports,
  ref: string,
): Promise<BaseListing & { source: string; generalisation: GeneralisationWarning[] }> {
  const base = await ports.bases.find(ref);
  return {
    ...(await describeBase(ports, base, (await baseUsers(ports)).users)),
    source: base.source.path,
    generalisation: await generalisationOf(ports, base),
  };
}

export async function describeBase(
  ports: Pick<Ports, 'bases' | 'memory'>,
  base: BaseImage,
  users: ReadonlyMap<string, string[]>,
): Promise<BaseListing> {
  const { name, digest, format, virtualBytes, allocatedBytes, importedAt, path, backing, promotedFrom } = base;
  return {
    name,
    ref: formatBaseRef(base),
    digest,
    format,
    virtualBytes,
    allocatedBytes,
    importedAt,
    path,
    depth: layersOf(base).length,
    layers: backing.map(formatBaseRef),
    promotedFrom: promotedFrom === undefined ? null : { ...promotedFrom, base: formatBaseRef(promotedFrom.base) },
    memory: memoryOf(base),
    fleets: users.get(baseKey(base)) ?? [],
    problems: [
      ...(await chainDifferences(ports, base)),
      ...(await memoryDifferences(ports, base)).map((difference) => `its memory: ${difference}`),
    ],
  };
}

function memoryOf({ warm }: BaseImage): BaseListing['memory'] {
  if (warm === undefined) return null;
  const { domain, takenAt, memoryMiB, allocatedBytes } = warm;
  return { domain, takenAt, memoryMiB, allocatedBytes };
}

/** Bytes on disk of an image without what is below it, and of the memory beside it. */
export function ownBytes({ allocatedBytes, warm }: BaseImage): number {
  return allocatedBytes + (warm?.allocatedBytes ?? 0);
}

export interface VerifiedBase {
  name: string;
  digest: string;
  path: string;
  /** Those below it, whose content was read as well. */
  layers: string[];
  /** What qemu-img check remarks without calling it corrupt, and files that may be written to. */
  warning?: string;
}

/**
 * Reads the whole image again, with all that is below it.
 * @throws BASE_CHANGED where content or seal of a layer is not as recorded; BASE_REFUSED where it is corrupt
 */
export async function verifyBase(ports: Ports, ref: string, options: WorkOptions): Promise<VerifiedBase> {
  const base = await ports.bases.find(ref);
  for (const layer of layersOf(base)) await verifyContent(ports, layer, options);
  await verifyMemory(ports, base, options);
  const checked = base.format === 'qcow2' ? await ports.images.check(base.path) : undefined;
  const warning = [checked, ...(await writableWarnings(ports, base))].filter((part) => part !== undefined).join('; ') || undefined;
  const layers = base.backing.map(formatBaseRef);
  return { name: base.name, digest: base.digest, path: base.path, layers, ...(warning === undefined ? {} : { warning }) };
}

/** @throws BASE_CHANGED */
async function verifyMemory(ports: Pick<Ports, 'memory'>, base: BaseImage, { signal, onProgress }: WorkOptions): Promise<void> {
  if (base.warm === undefined) return;
  const path = ports.memory.path(base);
  const differences = await memoryDifferences(ports, base);
  const tell = (progress: { doneBytes: number; totalBytes: number }): void =>
    onProgress?.({ kind: 'bytes', what: `reading ${path}`, ...progress });
  const digest = differences.includes(goneDifference) ? undefined : await ports.memory.digest(base, tell, signal);
  if (digest === base.warm.digest && differences.length === 0) return;
  throw new CowherdError(
    'BASE_CHANGED',
    `The memory of ${formatBaseRef(base)} is not what was frozen: ${differences.join(', ') || 'its content'}`,
    {
      details: [path, `recorded sha256 ${base.warm.digest}`, ...(digest === undefined ? [] : [`on disk  sha256 ${digest}`])],
      hint: 'No clones are made of it. Bring back the file as it was, with its times; or freeze the golden VM again for a new fleet.',
    },
  );
}

/** Its content is sound, and nothing but care keeps it so. */
async function writableWarnings(ports: Pick<Ports, 'bases'>, base: BaseImage): Promise<string[]> {
  const writable = await Promise.all(layersOf(base).map(async ({ path }) => ((await ports.bases.isWritable(path)) ? [path] : [])));
  return writable.flat().map((path) => `it may be written to: chmod 0444 ${path}`);
}

async function verifyContent(ports: Pick<Ports, 'bases'>, layer: BaseLayer, { signal, onProgress }: WorkOptions): Promise<void> {
  const ref = formatBaseRef(layer);
  const differences = sealDifferences(layer.seal, await ports.bases.seal(layer));
  const bringBack = bringBackHint(layer);
  if (differences.includes(goneDifference)) {
    throw new CowherdError('BASE_CHANGED', `Base image ${ref} is gone`, { details: [layer.path], hint: bringBack });
  }
  const digest = await ports.bases.digest(
    layer,
    (progress) => onProgress?.({ kind: 'bytes', what: `reading ${ref}`, ...progress }),
    signal,
  );
  if (digest !== layer.digest) {
    throw new CowherdError('BASE_CHANGED', `The content of base image ${ref} has changed`, {
      details: [`recorded sha256 ${layer.digest}`, `on disk  sha256 ${digest}`, ...differences],
      hint: bringBack,
    });
  }
  if (differences.length > 0) {
    throw new CowherdError('BASE_CHANGED', `Base image ${ref} was touched, but its content is as it was: ${differences.join(', ')}`, {
      details: [layer.path],
      hint: `Import the original file again to seal it anew: cowherd base add FILE --name ${layer.name}`,
    });
  }
}

/**
 * @param except a fleet that is being taken down itself
 * @throws BASE_IN_USE, naming the fleets or the layered images on it; BASE_NOT_FOUND
 */
export function removeBase(ports: Ports, ref: string, except?: string): Promise<{ name: string; digest: string; freedBytes: number }> {
  return ports.bases.locked(async () => {
    const base = await ports.bases.find(ref);
    const { bases, users, domains } = await verifiedUsers(ports);
    const namesakes = bases.filter((other) => other.name === ref);
    if (namesakes.length > 1) {
      throw new CowherdError('BAD_USAGE', `${ref} has ${namesakes.length} imports`, {
        details: namesakes.map((other) => `${formatBaseRef(other)}, imported ${other.importedAt}`),
        hint: `Say which: cowherd base remove ${formatBaseRef(namesakes[0] ?? base)}`,
      });
    }
    const children = childrenOf(bases, base).map(formatBaseRef);
    if (children.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is what ${children.join(', ')} stands on`, {
        hint: `A layered image is worth nothing without what is below it. First: ${children.map((child) => `cowherd base remove ${child}`).join('; ')}`,
      });
    }
    const fleets = (users.get(baseKey(base)) ?? []).filter((fleet) => fleet !== except);
    if (fleets.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is in use by ${fleets.join(', ')}`, {
        hint: `Their overlays are worth nothing without it. First: ${fleets.map((fleet) => `cowherd teardown ${fleet}`).join('; ')}`,
      });
    }
    const strangers = domains.get(baseKey(base)) ?? [];
    if (strangers.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is what disks of ${strangers.join(', ')} stand on`, {
        hint: 'These domains are not of any fleet. Give their disks a content of their own first (qemu-img convert), or remove them.',
      });
    }
    await ports.bases.remove(base);
    return { name: base.name, digest: base.digest, freedBytes: ownBytes(base) };
  });
}
