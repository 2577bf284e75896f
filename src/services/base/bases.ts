import { CowherdError } from '../../core/errors.js';
import { type BaseImage, formatBaseRef, type WarmMemory } from '../../core/image/base.js';
import { baseKey, childrenOf, layersOf } from '../../core/image/base-chain.js';
import { type HygieneWarning, hygieneWarnings } from '../../core/image/hygiene.js';
import { type ListedContents, type ListedDefaults, listedContents, listedDefaults } from '../../core/image/listed-contents.js';
import type { Prepared, Pulled } from '../../core/image/origin.js';
import type { ImportRequest, ImportResult } from '../../ports/bases.js';
import type { Ports } from '../../ports/index.js';
import { memoryDifferences } from '../clone/plan.js';
import { chainDifferences, type WorkOptions } from '../fleet/access.js';
import { baseUsers, verifiedUsers } from './users.js';

export interface BaseListing {
  name: string;
  ref: string;
  digest: string;
  /** What the digest is the beginning of. */
  hash: 'sha256' | 'sha512';
  format: string;
  virtualBytes: number;
  allocatedBytes: number;
  importedAt: string;
  path: string;
  /** Files that it is made of: 1 unless it is layered. */
  depth: number;
  /** Backing images of a layered image, nearest first. */
  layers: string[];
  /** The member whose disk was promoted, and the base image of that disk. */
  promotedFrom: { fleet: string; member: string; base: string } | null;
  /** Of a warm base: the memory that clones resume from, its source domain, and whether clones share it or why each copies it. */
  memory: { domain: string; takenAt: string; memoryMiB: number; allocatedBytes: number; shared: boolean; reason: string | null } | null;
  /** Of a downloaded image: where it came from, and what vouches for it. */
  pulled: Pulled | null;
  /** Of an image that was prepared from another one. */
  prepared: Prepared | null;
  contents: ListedContents;
  defaults: ListedDefaults;
  /** Fleets based on it. */
  fleets: string[];
  /** Differences from the record; empty for an unchanged image. */
  problems: string[];
}

export async function listBases(ports: Ports): Promise<{ bases: BaseListing[]; damaged: Array<{ path: string; reason: string }> }> {
  const { bases, damaged } = await ports.bases.list();
  const { users, unreadable } = await baseUsers(ports);
  return { bases: await Promise.all(bases.map((base) => describeBase(ports, base, users))), damaged: [...damaged, ...unreadable] };
}

/** Imports an image into the store. Importing the original file again also repairs a base image whose file was changed. */
export async function addBase(
  ports: Ports,
  request: Omit<ImportRequest, 'onProgress'>,
  { signal, onProgress }: WorkOptions,
): Promise<BaseListing & { how: ImportResult['how']; warning?: string; generalisation: HygieneWarning[] }> {
  const { base, how, warning } = await ports.bases.locked(
    () =>
      ports.bases.import({
        ...request,
        signal,
        onProgress: (progress) => onProgress?.({ kind: 'bytes', what: `importing ${request.path}`, ...progress }),
      }),
    { signal, onProgress },
  );
  // The import succeeded: it does not fail because the users of the image cannot be listed.
  const { users } = await baseUsers(ports).catch(() => ({ users: new Map<string, string[]>() }));
  return {
    ...(await describeBase(ports, base, users)),
    how,
    ...(warning === undefined ? {} : { warning }),
    generalisation: await hygieneWarningsOf(ports, base),
  };
}

/** State that its members would share but should not; empty if the image cannot be inspected without booting it. */
export async function hygieneWarningsOf(
  ports: Pick<Ports, 'inspectGuestFiles'>,
  { path, format, backing }: BaseImage,
): Promise<HygieneWarning[]> {
  const facts = await ports.inspectGuestFiles(path, format, { backing });
  return facts === undefined ? [] : hygieneWarnings(facts);
}

export async function inspectBase(ports: Ports, ref: string): Promise<BaseListing & { source: string; generalisation: HygieneWarning[] }> {
  const base = await ports.bases.find(ref);
  // Only for display: fleets on an image that was imported before this was recorded get no defaults from it.
  const contents = base.contents ?? (await ports.inspectContents(base.path, base.format, { backing: base.backing }));
  return {
    ...(await describeBase(ports, { ...base, contents }, (await baseUsers(ports)).users)),
    source: base.source.path,
    generalisation: await hygieneWarningsOf(ports, base),
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
    hash: 'sha256',
    format,
    virtualBytes,
    allocatedBytes,
    importedAt,
    path,
    depth: layersOf(base).length,
    layers: backing.map(formatBaseRef),
    promotedFrom: promotedFrom === undefined ? null : { ...promotedFrom, base: formatBaseRef(promotedFrom.base) },
    memory: memoryOf(base),
    pulled: base.pulled ?? null,
    prepared: base.prepared ?? null,
    contents: listedContents(base.contents),
    defaults: listedDefaults(base.defaults),
    fleets: users.get(baseKey(base)) ?? [],
    problems: [
      ...(await chainDifferences(ports, base)),
      ...(await memoryDifferences(ports, base)).map((difference) => `its memory: ${difference}`),
    ],
  };
}

function memoryOf({ warm }: BaseImage): BaseListing['memory'] {
  if (warm === undefined) return null;
  const { domain, takenAt, memoryMiB, ram, whole } = warm;
  return { domain, takenAt, memoryMiB, allocatedBytes: memoryBytes(warm), shared: ram !== undefined, reason: whole ?? null };
}

function memoryBytes({ allocatedBytes, ram }: WarmMemory): number {
  return allocatedBytes + (ram?.allocatedBytes ?? 0);
}

/** Bytes on disk of an image and its memory, without its backing images. */
export function ownBytes({ allocatedBytes, warm }: BaseImage): number {
  return allocatedBytes + (warm === undefined ? 0 : memoryBytes(warm));
}

/**
 * @param except a fleet that is being removed
 * @throws BASE_IN_USE, naming the fleets or layered images based on it; BASE_NOT_FOUND
 */
export function removeBase(
  ports: Ports,
  ref: string,
  except?: string,
  options: Pick<WorkOptions, 'signal' | 'onProgress'> = {},
): Promise<{ name: string; digest: string; freedBytes: number }> {
  return ports.bases.locked(async () => {
    const base = await ports.bases.find(ref);
    const { bases, users, domains } = await verifiedUsers(ports);
    const namesakes = bases.filter((other) => other.name === ref);
    if (namesakes.length > 1) {
      throw new CowherdError('BAD_USAGE', `${ref} has ${namesakes.length} imports`, {
        details: namesakes.map((other) => `${formatBaseRef(other)}, imported ${other.importedAt}`),
        hint: `Name one: cowherd base remove ${formatBaseRef(namesakes[0] ?? base)}`,
      });
    }
    const children = childrenOf(bases, base).map(formatBaseRef);
    if (children.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is the backing file of ${children.join(', ')}`, {
        hint: `Layered images are unusable without their backing file. Remove them first: ${children.map((child) => `cowherd base remove ${child}`).join('; ')}`,
      });
    }
    const fleets = (users.get(baseKey(base)) ?? []).filter((fleet) => fleet !== except);
    if (fleets.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is in use by ${fleets.join(', ')}`, {
        hint: `Their overlays are unusable without it. Rebase them first: ${fleets.map((fleet) => `cowherd rebase ${fleet} --base OTHER`).join('; ')}. Or remove them: ${fleets.map((fleet) => `cowherd teardown ${fleet}`).join('; ')}`,
      });
    }
    const strangers = domains.get(baseKey(base)) ?? [];
    if (strangers.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is in use by the domains ${strangers.join(', ')}`, {
        hint: 'These domains belong to no fleet. Make their disks independent first (qemu-img convert), or remove the domains.',
      });
    }
    await ports.bases.remove(base);
    return { name: base.name, digest: base.digest, freedBytes: ownBytes(base) };
  }, options);
}
