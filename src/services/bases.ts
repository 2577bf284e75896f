import { type BaseImage, formatBaseRef, sealDifferences } from '../core/base.js';
import { printedAttribute } from '../core/domain-xml.js';
import { CowherdError, reportOf } from '../core/errors.js';
import type { BaseRef } from '../core/fleet.js';
import { type GeneralisationWarning, generalisationWarnings } from '../core/generalisation.js';
import type { ImportRequest, ImportResult, Ports } from '../ports.js';
import type { WorkOptions } from './fleet-access.js';

export interface BaseListing {
  name: string;
  ref: string;
  digest: string;
  format: string;
  virtualBytes: number;
  allocatedBytes: number;
  importedAt: string;
  path: string;
  /** Fleets that stand on it. */
  fleets: string[];
  /** What differs from the record; empty for an untouched image. */
  problems: string[];
}

export async function listBases(ports: Ports): Promise<{ bases: BaseListing[]; damaged: Array<{ path: string; reason: string }> }> {
  const { bases, damaged } = await ports.bases.list();
  const { users, unreadable } = await baseUsers(ports);
  return { bases: await Promise.all(bases.map((base) => describe(ports, base, users))), damaged: [...damaged, ...unreadable] };
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
    ...(await describe(ports, base, users)),
    how,
    ...(warning === undefined ? {} : { warning }),
    generalisation: await generalisationOf(ports, base),
  };
}

/** What its members would have in common and should not; nothing where the image cannot be read without booting it. */
export async function generalisationOf(
  ports: Pick<Ports, 'inspectGuestFiles'>,
  { path, format }: BaseImage,
): Promise<GeneralisationWarning[]> {
  const facts = await ports.inspectGuestFiles(path, format);
  return facts === undefined ? [] : generalisationWarnings(facts);
}

export async function inspectBase(
  ports: Ports,
  ref: string,
): Promise<BaseListing & { source: string; generalisation: GeneralisationWarning[] }> {
  const base = await ports.bases.find(ref);
  return {
    ...(await describe(ports, base, (await baseUsers(ports)).users)),
    source: base.source.path,
    generalisation: await generalisationOf(ports, base),
  };
}

async function describe(ports: Pick<Ports, 'bases'>, base: BaseImage, users: ReadonlyMap<string, string[]>): Promise<BaseListing> {
  const { name, digest, format, virtualBytes, allocatedBytes, importedAt, path } = base;
  return {
    name,
    ref: formatBaseRef(base),
    digest,
    format,
    virtualBytes,
    allocatedBytes,
    importedAt,
    path,
    fleets: users.get(`${name}@${digest}`) ?? [],
    problems: sealDifferences(base.seal, await ports.bases.seal(base)),
  };
}

export interface VerifiedBase {
  name: string;
  digest: string;
  path: string;
  /** What qemu-img check remarks without calling it corrupt. */
  warning?: string;
}

/** Reads the whole image again. @throws BASE_CHANGED where its content or its seal is not as recorded; BASE_REFUSED where it is corrupt */
export async function verifyBase(ports: Ports, ref: string, { signal, onProgress }: WorkOptions): Promise<VerifiedBase> {
  const base = await ports.bases.find(ref);
  const differences = sealDifferences(base.seal, await ports.bases.seal(base));
  const bringBack = `Bring back the original: cowherd base add FILE --name ${base.name}`;
  if (differences.includes('the file is gone')) {
    throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(base)} is gone`, { details: [base.path], hint: bringBack });
  }
  const digest = await ports.bases.digest(
    base,
    (progress) => onProgress?.({ kind: 'bytes', what: `reading ${formatBaseRef(base)}`, ...progress }),
    signal,
  );
  if (digest !== base.digest) {
    throw new CowherdError('BASE_CHANGED', `The content of base image ${formatBaseRef(base)} has changed`, {
      details: [`recorded sha256 ${base.digest}`, `on disk  sha256 ${digest}`, ...differences],
      hint: bringBack,
    });
  }
  if (differences.length > 0) {
    throw new CowherdError(
      'BASE_CHANGED',
      `Base image ${formatBaseRef(base)} was touched, but its content is as it was: ${differences.join(', ')}`,
      {
        details: [base.path],
        hint: `Import the original file again to seal it anew: cowherd base add FILE --name ${base.name}`,
      },
    );
  }
  const warning = base.format === 'qcow2' ? await ports.images.check(base.path) : undefined;
  return { name: base.name, digest, path: base.path, ...(warning === undefined ? {} : { warning }) };
}

/**
 * @param except a fleet that is being taken down itself
 * @throws BASE_IN_USE, naming the fleets; BASE_NOT_FOUND
 */
export function removeBase(ports: Ports, ref: string, except?: string): Promise<{ name: string; digest: string; freedBytes: number }> {
  return ports.bases.locked(async () => {
    const base = await ports.bases.find(ref);
    const { users, unreadable } = await baseUsers(ports);
    if (unreadable.length > 0) {
      throw new CowherdError('BASE_IN_USE', 'It cannot be told whether a base image is in use', {
        details: unreadable.map(({ path, reason }) => `${path}: ${reason}`),
        hint: 'Mend or tear down these fleets first.',
      });
    }
    const fleets = (users.get(`${base.name}@${base.digest}`) ?? []).filter((fleet) => fleet !== except);
    if (fleets.length > 0) {
      throw new CowherdError('BASE_IN_USE', `Base image ${formatBaseRef(base)} is in use by ${fleets.join(', ')}`, {
        hint: `Their overlays are worth nothing without it. First: ${fleets.map((fleet) => `cowherd teardown ${fleet}`).join('; ')}`,
      });
    }
    await ports.bases.remove(base);
    return { name: base.name, digest: base.digest, freedBytes: base.allocatedBytes };
  });
}

interface BaseUsers {
  /** Names of fleets by NAME@DIGEST of what they stand on. */
  users: Map<string, string[]>;
  /** Fleets whose state cannot be read: they may stand on anything. */
  unreadable: Array<{ path: string; reason: string }>;
}

/** Which fleets of this store stand on which base image: what records, unfinished operations and domains say. */
async function baseUsers(ports: Ports): Promise<BaseUsers> {
  const users = new Map<string, Set<string>>();
  const unreadable: BaseUsers['unreadable'] = [];
  const recorded = new Set<string>();
  const note = ({ name, digest }: BaseRef, fleet: string): void => {
    const key = `${name}@${digest}`;
    users.set(key, (users.get(key) ?? new Set()).add(fleet));
  };
  for (const fleet of await ports.fleets.list()) {
    try {
      const records = [await ports.fleets.read(fleet), (await ports.fleets.unfinished(fleet))?.operation.record];
      for (const record of records) {
        if (record === undefined) continue;
        note(record.base, fleet);
        recorded.add(record.id);
      }
    } catch (error) {
      unreadable.push({ path: `fleet ${fleet}`, reason: reportOf(error).message });
    }
  }
  const domains = await ports.hypervisor.listDomains();
  const marks = await ports.hypervisor.readMarks(domains.map((domain) => domain.name));
  // Domains whose fleet's record is lost count, too; those of another store stand on files of their own.
  const documents = await ports.hypervisor.readXml([...marks].filter(([, mark]) => !recorded.has(mark.fleetId)).map(([name]) => name));
  for (const [name, mark] of marks)
    if (documents.get(name)?.includes(printedAttribute(`${ports.fleets.root}/`)))
      note({ name: mark.baseName, digest: mark.baseDigest }, mark.fleet);
  return { users: new Map([...users].map(([key, fleets]) => [key, [...fleets].sort()])), unreadable };
}
