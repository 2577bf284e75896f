import { printedAttribute } from '../../core/domain/domain-xml.js';
import { imagesPrintedIn } from '../../core/domain/foreign-domain.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { MemberMark } from '../../core/fleet/observation.js';
import { type BaseRef, basesOf } from '../../core/fleet/record.js';
import type { BaseImage } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import { domainSpecSchema } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';

/** Who stands on which base image. */

export interface BaseUsers {
  /** Names of fleets by the key of what they stand on. */
  users: Map<string, string[]>;
  /** Fleets whose state cannot be read: they may stand on anything. */
  unreadable: Array<{ path: string; reason: string }>;
}

/** Which fleets of this store stand on which base image: what records, unfinished operations and domains say. */
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
  const marks = await ports.hypervisor.readMarks(domains.map((domain) => domain.name));
  // Domains whose fleet's record is lost count, too; those of another store stand on files of their own.
  const documents = await ports.hypervisor.readXml([...marks].filter(([, mark]) => !recorded.has(mark.fleetId)).map(([name]) => name));
  for (const [name, mark] of marks)
    if (documents.get(name)?.includes(printedAttribute(`${ports.fleets.root}/`)))
      for (const base of basesOfMark(mark, unreadable)) note(base, mark.fleet);
  return { users: new Map([...users].map(([key, fleets]) => [key, [...fleets].sort()])), unreadable };
}

/** What a member whose record is lost stands on: of its further disks, its spec says it. */
function basesOfMark({ fleet, baseName, baseDigest, spec }: MemberMark, unreadable: BaseUsers['unreadable']): BaseRef[] {
  const own = { name: baseName, digest: baseDigest };
  try {
    return [own, ...domainSpecSchema.parse(JSON.parse(spec)).disks.flatMap((disk) => disk.base ?? [])];
  } catch {
    unreadable.push({ path: `a domain of fleet ${fleet}`, reason: 'the spec in its metadata cannot be read' });
    return [own];
  }
}

/** Domains that are not of any fleet, by the key of the base image that a disk of theirs stands on, however far below. */
async function foreignUsers(ports: Ports, bases: readonly BaseImage[]): Promise<Map<string, string[]>> {
  const { disks, hypervisor } = ports;
  const keys = new Map(await Promise.all(bases.map(async (base) => [await disks.identity(base.path), baseKey(base)] as const)));
  const domains = await hypervisor.listDomains();
  const marks = await hypervisor.readMarks(domains.map((domain) => domain.name));
  const strangers = domains.filter((domain) => !marks.has(domain.name));
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
      // A device, a file that is not there, or one that may not be read: a base image is neither.
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

/** For verbs that remove. @throws BASE_IN_USE where a fleet or a base image cannot be read: it may stand on anything */
export async function verifiedUsers(
  ports: Ports,
): Promise<{ bases: BaseImage[]; users: BaseUsers['users']; domains: Map<string, string[]> }> {
  const [{ bases, damaged }, { users, unreadable }] = [await ports.bases.list(), await baseUsers(ports)];
  if (unreadable.length > 0) {
    throw new CowherdError('BASE_IN_USE', 'It cannot be told whether a base image is in use', {
      details: unreadable.map(({ path, reason }) => `${path}: ${reason}`),
      hint: 'Mend or tear down these fleets first.',
    });
  }
  if (damaged.length > 0) {
    throw new CowherdError('BASE_IN_USE', 'It cannot be told which base images stand on others', {
      details: damaged.map(({ path, reason }) => `${path}: ${reason}`),
      hint: 'Mend these first: import the image again, or remove its two files where nothing of it is needed.',
    });
  }
  return { bases, users, domains: await foreignUsers(ports, bases) };
}
