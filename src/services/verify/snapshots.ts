import type { Ports, StoreEntry } from '../../ports.js';
import { listSnapshots, type SnapshotListing } from '../snapshots/list.js';
import { type Examined, leftover, sweepHint } from './bases.js';
import { type Found, found } from './found.js';

/** Snapshots of domains that cowherd did not make: their records, their files, and the domains. Changes nothing. */
export async function examineSnapshots(ports: Ports): Promise<Examined> {
  const { domains, damaged } = await listSnapshots(ports, undefined);
  const findings = damaged.map(({ path, reason }) =>
    found('damaged', path, reason, { hint: 'It says which files are what: cowherd leaves the domain alone until it can be read.' }),
  );
  const unknown: string[] = [];
  const listed = new Map(domains.map((listing) => [listing.uuid, listing]));
  for (const uuid of await ports.survey.owners('snapshots')) {
    const directory = ports.snapshots.directory(uuid);
    const entries = await ports.survey.entries('snapshots', uuid);
    unknown.push(...entries.filter(({ role }) => role === 'unknown').map(({ path }) => path));
    const listing = listed.get(uuid);
    if (listing !== undefined) findings.push(...examineListing(ports, listing, entries));
    else if (!damaged.some(({ path }) => path === directory)) findings.push(...withoutRecord(ports, uuid, entries));
  }
  return { findings, count: domains.length, unknown };
}

function withoutRecord(ports: Ports, uuid: string, entries: readonly StoreEntry[]): Found[] {
  const directory = ports.snapshots.directory(uuid);
  const held = entries.filter(({ role }) => role !== 'leftover');
  if (held.length > 0) {
    const hint = 'Look whether a domain has one of them as a disk; where none has, remove the directory.';
    const bytes = held.reduce((total, entry) => total + entry.bytes, 0);
    return [found('orphan', directory, `${held.length} files of snapshots without a record`, { hint, bytes })];
  }
  const mend = async (): Promise<void> => {
    for (const entry of entries) await ports.survey.remove('snapshots', entry);
    await ports.survey.removeEmpty('snapshots', uuid);
  };
  return [found('leftover', directory, 'a directory without a snapshot', { hint: sweepHint, mend: () => locked(ports, uuid, mend) })];
}

function examineListing(ports: Ports, listing: SnapshotListing, entries: readonly StoreEntry[]): Found[] {
  const { uuid, domain, problems, unfinished, levels, state } = listing;
  // Between two states, nothing has to agree.
  if (unfinished !== undefined) {
    const message = `a snapshot ${unfinished.verb} was interrupted: it boots ${unfinished.boots}`;
    return [found('unfinished', domain, message, { hint: `Finish it: ${unfinished.finishWith}` })];
  }
  const findings = entries
    .filter(({ role }) => role === 'leftover')
    .map((entry) => leftover(entry, sweepHint, () => locked(ports, uuid, () => ports.survey.remove('snapshots', entry))));
  if (problems.length > 0) {
    const hint =
      state === 'gone'
        ? `Its snapshots are in ${ports.snapshots.directory(uuid)}. Define the domain again, or remove them.`
        : `cowherd snapshot list ${domain} says more.`;
    findings.push(found(state === 'gone' ? 'orphan' : 'mismatch', domain, problems.join(', '), { hint }));
  }
  const recorded = new Set(levels.flatMap((level) => level.disks.map((disk) => disk.overlay)));
  for (const { path, bytes, role } of entries)
    if (role === 'disk' && !recorded.has(path)) {
      const hint = 'If the domain does not have it as a disk, it can be removed.';
      findings.push(found('orphan', path, `an overlay of no snapshot of ${domain}`, { hint, bytes }));
    }
  return findings;
}

async function locked(ports: Ports, uuid: string, work: () => Promise<void>): Promise<void> {
  const lock = await ports.snapshots.lock(uuid, uuid);
  try {
    await work();
  } finally {
    await lock.release();
  }
}
