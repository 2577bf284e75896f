import { shellWord } from '../../core/quoting.js';
import type { Ports, StoreEntry } from '../../ports/index.js';
import { listSnapshots, type SnapshotListing } from '../snapshot/list.js';
import { type Examined, leftover, sweepHint } from './bases.js';
import { exposures, type FixableFinding, fixable } from './fixable-finding.js';

export interface ExaminedSnapshots extends Omit<Examined, 'findings'> {
  /** One entry per directory of snapshots; the domain's name, if known. */
  directories: Array<{ uuid: string; domain: string; findings: FixableFinding[] }>;
}

/** Examines snapshots of foreign domains: records, files and domains. Changes nothing; findings may be fixed under the lock of that domain's snapshots.
 * @param only examine only this UUID
 */
export async function examineSnapshots(ports: Ports, only?: string): Promise<ExaminedSnapshots> {
  const uuids = only === undefined ? await ports.survey.owners('snapshots') : [only];
  const { domains, damaged } = await listSnapshots(ports, undefined, only);
  const directories: ExaminedSnapshots['directories'] = [];
  const unknown: string[] = [];
  for (const uuid of uuids) {
    const directory = ports.snapshots.directory(uuid);
    const entries = await ports.survey.entries('snapshots', uuid);
    unknown.push(...entries.filter(({ role }) => role === 'unknown').map(({ path }) => path));
    const listing = domains.find((listed) => listed.uuid === uuid);
    const reason = damaged.find(({ path }) => path === directory)?.reason;
    const hint = 'The record describes the files: cowherd does not change the domain until it can be read.';
    const findings =
      reason !== undefined
        ? [fixable('damaged', directory, reason, { hint })]
        : listing === undefined
          ? await withoutRecord(ports, uuid, entries)
          : examineListing(ports, listing, entries);
    directories.push({ uuid, domain: listing?.domain ?? uuid, findings });
  }
  return { directories, count: domains.length, unknown };
}

async function withoutRecord(ports: Ports, uuid: string, entries: readonly StoreEntry[]): Promise<FixableFinding[]> {
  const directory = ports.snapshots.directory(uuid);
  // Removed meanwhile.
  if (!(await ports.survey.owners('snapshots')).includes(uuid)) return [];
  const held = entries.filter(({ role }) => role !== 'leftover');
  if (held.length > 0) {
    const hint = 'If no domain uses one of them as a disk, remove the directory.';
    const bytes = held.reduce((total, entry) => total + entry.bytes, 0);
    return [fixable('orphan', directory, `${held.length} files of snapshots without a record`, { hint, bytes })];
  }
  const fix = async (): Promise<void> => {
    for (const entry of entries) await ports.survey.remove('snapshots', entry);
    await ports.survey.removeEmpty('snapshots', uuid);
  };
  return [fixable('leftover', directory, 'a directory without a snapshot', { hint: sweepHint, fix })];
}

function examineListing(ports: Ports, listing: SnapshotListing, entries: readonly StoreEntry[]): FixableFinding[] {
  const { uuid, domain, problems, unfinished, levels, state } = listing;
  // During an unfinished operation, inconsistencies are normal.
  if (unfinished !== undefined) {
    const message = `a snapshot ${unfinished.verb} was interrupted: the domain boots ${unfinished.boots}`;
    return [fixable('unfinished', domain, message, { hint: `Finish it: ${unfinished.finishWith}` })];
  }
  const findings = entries
    .filter(({ role }) => role === 'leftover')
    .map((entry) => leftover(entry, sweepHint, () => ports.survey.remove('snapshots', entry)));
  findings.push(...exposures(ports, entries, 'cowherd verify --fix'));
  if (problems.length > 0) {
    const hint =
      state === 'gone'
        ? `Its snapshots are in ${ports.snapshots.directory(uuid)}. Define the domain again, or remove them.`
        : `For details: cowherd snapshot list ${shellWord(domain)}`;
    findings.push(fixable(state === 'gone' ? 'orphan' : 'mismatch', domain, problems.join(', '), { hint }));
  }
  const recorded = new Set(levels.flatMap((level) => level.disks.map((disk) => disk.overlay)));
  for (const { path, bytes, role } of entries)
    if (role === 'disk' && !recorded.has(path)) {
      const hint = 'If the domain does not use it as a disk, it can be removed.';
      findings.push(fixable('orphan', path, `an overlay that belongs to no snapshot of ${domain}`, { hint, bytes }));
    }
  return findings;
}
