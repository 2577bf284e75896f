import { domainRef } from '../../core/domain/domain-ref.js';
import { judgeDisks } from '../../core/domain/foreign-domain.js';
import { parseXml } from '../../core/domain/xml-tree.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';
import { shellWord } from '../../core/quoting.js';
import {
  expectedDisks,
  levelName,
  type SnapshotJournal,
  type SnapshotLevel,
  type SnapshotRecord,
  type SnapshotVerb,
} from '../../core/snapshot/snapshot.js';
import { sideOf, strayDisks } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';
import { changedImages, missingOverlays } from './access.js';

export interface SnapshotListing {
  domain: string;
  uuid: string;
  state: DomainState['state'] | 'gone';
  /** Oldest first. */
  levels: Array<{
    number: number;
    name: string;
    takenAt: string;
    ageSeconds: number;
    hasNvram: boolean;
    disks: Array<{
      target: string;
      overlay: string /** Bytes on disk: the changes since the snapshot. */;
      overlayBytes: number;
      backing: string;
      format: string;
    }>;
  }>;
  /** An interrupted verb, and the disks that the domain uses now. */
  unfinished?: {
    verb: SnapshotVerb;
    snapshot: string;
    startedAt: string;
    boots: 'as before it' | 'as after it' | 'neither way';
    finishWith: string;
  };
  /** Problems that prevent verbs on it. */
  problems: string[];
  notes: string[];
}

export interface SnapshotLists {
  domains: SnapshotListing[];
  damaged: Array<{ path: string; reason: string }>;
}

/** The snapshots of one domain or of all, as stored on disk and in libvirt. Changes nothing and takes no lock.
 * @param only read only the directory of this UUID
 */
export async function listSnapshots(ports: Ports, word: string | undefined, only?: string): Promise<SnapshotLists> {
  const byUuid = new Map((await ports.hypervisor.listDomains()).map((domain) => [domain.uuid, domain]));
  const domains: SnapshotListing[] = [];
  const damaged: SnapshotLists['damaged'] = [];
  for (const uuid of only === undefined ? await ports.snapshots.list() : [only]) {
    try {
      const [record, journal] = [await ports.snapshots.read(uuid), await ports.snapshots.journal(uuid)];
      if (record === undefined && journal === undefined) continue;
      const domain = byUuid.get(uuid);
      const name = domain?.name ?? record?.name ?? journal?.domain ?? uuid;
      if (word === undefined || [uuid, name].includes(word)) domains.push(await describe(ports, { uuid, name, domain, record, journal }));
    } catch (error) {
      // An unreadable record does not hide the others.
      damaged.push({ path: ports.snapshots.directory(uuid), reason: reportOf(error).message });
    }
  }
  if (
    word !== undefined &&
    domains.length === 0 &&
    damaged.length === 0 &&
    ![...byUuid.values()].some(({ name, uuid }) => [name, uuid].includes(word))
  ) {
    throw new CowherdError('DOMAIN_NOT_FOUND', `No domain ${JSON.stringify(word)} and no snapshots of such a domain found`, {
      hint: 'List the domains: virsh list --all',
    });
  }
  return { domains: domains.sort((a, b) => a.domain.localeCompare(b.domain)), damaged };
}

interface Found {
  uuid: string;
  name: string;
  domain: DomainState | undefined;
  record: SnapshotRecord | undefined;
  journal: SnapshotJournal | undefined;
}

async function describe(ports: Ports, { uuid, name, domain, record, journal }: Found): Promise<SnapshotListing> {
  const levels = record?.levels ?? [];
  const xml = domain === undefined ? undefined : await ports.domains.definition(domainRef(domain));
  const problems: string[] = [];
  const notes: string[] = [];
  if (xml === undefined) problems.push('the domain does not exist');
  // During an unfinished verb, the domain may use the old or the new disks.
  else if (journal === undefined) problems.push(...strayDisks(xml, expectedDisks(levels)), ...(await ownObstacles(ports, name)));
  // The same applies to the files: a commit writes to the backing files.
  if (journal === undefined) problems.push(...(await changedImages(ports, levels)), ...(await missingOverlays(ports, levels)));
  if (xml !== undefined && levels.length > 0) {
    const covered = expectedDisks(levels);
    for (const { target } of judgeDisks(parseXml(xml, `The XML of ${name}`)).disks)
      if (!covered.has(target)) notes.push(`disk ${target} was attached later and is not part of the snapshots`);
  }
  return {
    domain: name,
    uuid,
    state: domain === undefined ? 'gone' : domain.state,
    levels: await Promise.all(levels.map((level) => describeLevel(ports, level))),
    ...(journal === undefined ? {} : { unfinished: unfinished(journal, name, xml) }),
    problems,
    notes,
  };
}

async function describeLevel(
  ports: Ports,
  { number, name, takenAt, nvram, disks }: SnapshotLevel,
): Promise<SnapshotListing['levels'][number]> {
  return {
    number,
    name,
    takenAt,
    ageSeconds: Math.max(0, (ports.clock.now().getTime() - Date.parse(takenAt)) / 1000),
    hasNvram: nvram?.copy !== undefined,
    disks: await Promise.all(
      disks.map(async ({ target, overlay, backing }) => ({
        target,
        overlay,
        overlayBytes: (await ports.disks.allocatedBytes(overlay)) ?? 0,
        backing: backing.path,
        format: backing.format,
      })),
    ),
  };
}

async function ownObstacles(ports: Ports, name: string): Promise<string[]> {
  const { managedSave, snapshots } = await ports.domains.managedState();
  return [
    ...(managedSave.has(name) ? ['it has a managed save: snapshot commands refuse to change its disks'] : []),
    ...(snapshots.has(name) ? ['it has snapshots of libvirt: snapshot commands refuse to change its disks'] : []),
  ];
}

function unfinished(journal: SnapshotJournal, domain: string, xml: string | undefined): NonNullable<SnapshotListing['unfinished']> {
  const { verb, level, startedAt, switched } = journal;
  const side = xml === undefined ? 'elsewhere' : sideOf(xml, switched);
  return {
    verb,
    snapshot: levelName(level),
    startedAt,
    boots: side === 'before' ? 'as before it' : side === 'after' ? 'as after it' : 'neither way',
    finishWith: `cowherd snapshot ${verb} ${shellWord(domain)}`,
  };
}
