import { printedAttribute } from '../../core/domain/domain-xml.js';
import { imagesPrintedIn } from '../../core/domain/foreign-domain.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { MemberMark } from '../../core/fleet/observation.js';
import { type BaseRef, basesOf } from '../../core/fleet/record.js';
import type { BaseImage } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import { domainSpecSchema } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';

/** Users of base images. */

export interface BaseUsers {
  /** Fleet names by base image key. */
  users: Map<string, string[]>;
  /** Fleets whose state cannot be read: they may use any base image. */
  unreadable: Array<{ path: string; reason: string }>;
}

/** The fleets that use each base image, from records, unfinished operations and domains. */
export async function baseUsers(ports: Ports): Promise<BaseUsers> {
  const users = new Map<string, Set<string>>();
  const unreadable: BaseUsers['unreadable'] = [];
  const recorded = new Set<string>();
  const note = (ref: BaseRef, fleet: string): void => {
    const key = baseKey(ref);
    users.set(key, (users.get(key) ?? new Set()).add(fleet));
  };
  for (const fleet of await ports.fleets.list()) {
    try {
      const records = [await ports.fleets.read(fleet), (await ports.fleets.unfinished(fleet))?.operation.record];
      for (const record of records) {
        if (record === undefined) continue;
        for (const base of basesOf(record)) note(base, fleet);
        recorded.add(record.id);
      }
    } catch (error) {
      unreadable.push({ path: `fleet ${fleet}`, reason: reportOf(error).message });
    }
  }
  const domains = await ports.hypervisor.listDomains();
  const marks = await ports.hypervisor.readMarks(domains.map((domain) => domain.uuid));
  // Domains whose fleet record is lost also count. Domains of another store use that store's files.
  const documents = await ports.hypervisor.readXml([...marks].filter(([, mark]) => !recorded.has(mark.fleetId)).map(([uuid]) => uuid));
  for (const [uuid, mark] of marks)
    if (documents.get(uuid)?.includes(printedAttribute(`${ports.fleets.root}/`)))
      for (const base of basesOfMark(mark, unreadable)) note(base, mark.fleet);
  return { users: new Map([...users].map(([key, fleets]) => [key, [...fleets].sort()])), unreadable };
}

/** Base images of a member without a fleet record. Those of its further disks are in its spec. */
function basesOfMark({ fleet, baseName, baseDigest, spec }: MemberMark, unreadable: BaseUsers['unreadable']): BaseRef[] {
  const own = { name: baseName, digest: baseDigest };
  try {
    return [own, ...domainSpecSchema.parse(JSON.parse(spec)).disks.flatMap((disk) => disk.base ?? [])];
  } catch {
    unreadable.push({ path: `a domain of fleet ${fleet}`, reason: 'the spec in its metadata cannot be read' });
    return [own];
  }
}

/** Domains that belong to no fleet, by the key of each base image in the backing chains of their disks. */
async function foreignUsers(ports: Ports, bases: readonly BaseImage[]): Promise<Map<string, string[]>> {
  const { disks, hypervisor } = ports;
  const keys = new Map(await Promise.all(bases.map(async (base) => [await disks.identity(base.path), baseKey(base)] as const)));
  const domains = await hypervisor.listDomains();
  const marks = await hypervisor.readMarks(domains.map((domain) => domain.uuid));
  const strangers = domains.filter((domain) => !marks.has(domain.uuid));
  const documents = await hypervisor.readXml(strangers.map((domain) => domain.uuid));
  const users = new Map<string, string[]>();
  for (const { name, uuid } of strangers) {
    const found = new Set<string>();
    const seen = new Set<string>();
    const queue = imagesPrintedIn(documents.get(uuid) ?? '').files;
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      const identity = await disks.identity(path);
      if (seen.has(identity)) continue;
      seen.add(identity);
      const key = keys.get(identity);
      if (key !== undefined) found.add(key);
      // A device, a missing file or an unreadable one: none of them is a base image.
      queue.push(...(await disks.backingFiles(path).catch(() => [])));
    }
    for (const key of found) {
      const those = users.get(key);
      if (those === undefined) users.set(key, [name]);
      else those.push(name);
    }
  }
  return users;
}

/** For verbs that remove images. @throws BASE_IN_USE if a fleet or base image cannot be read: it may use any image */
export async function verifiedUsers(
  ports: Ports,
): Promise<{ bases: BaseImage[]; users: BaseUsers['users']; domains: Map<string, string[]> }> {
  const [{ bases, damaged }, { users, unreadable }] = [await ports.bases.list(), await baseUsers(ports)];
  if (unreadable.length > 0) {
    throw new CowherdError('BASE_IN_USE', 'Cannot determine which base images are in use: some fleets cannot be read', {
      details: unreadable.map(({ path, reason }) => `${path}: ${reason}`),
      hint: 'Repair or remove these fleets first.',
    });
  }
  if (damaged.length > 0) {
    throw new CowherdError('BASE_IN_USE', 'Cannot determine which base images are in use: some records are damaged', {
      details: damaged.map(({ path, reason }) => `${path}: ${reason}`),
      hint: 'Repair these first: import the image again, or remove its two files if nothing needs them.',
    });
  }
  return { bases, users, domains: await foreignUsers(ports, bases) };
}
