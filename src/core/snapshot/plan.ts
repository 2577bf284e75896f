import type { ForeignDisk } from '../domain/foreign-domain.js';
import { parseXml, printXml } from '../domain/xml-tree.js';
import { expectedDisks, type ImageRef, type LevelDisk, type SnapshotJournal, type SnapshotLevel, type SwitchedDisk } from './snapshot.js';
import { overlayElement, switchDisks } from './xml.js';

/** Plans each command as a journal for one executor: new files, one definition, files to remove afterwards. */

/** Paths of the files of a level. */
export interface SnapshotFiles {
  /** @param generation 1 at the take, one more at each rollback, since the domain is switched to another file name */
  overlay(level: Pick<SnapshotLevel, 'number' | 'name'>, target: string, generation: number): string;
  nvram(level: Pick<SnapshotLevel, 'number' | 'name'>): string;
  generationOf(overlay: string): number;
}

interface Circumstances {
  domain: string;
  uuid: string;
  /** Complete, including secrets. */
  xml: string;
  levels: readonly SnapshotLevel[];
  files: SnapshotFiles;
  wasRunning: boolean;
  now: Date;
}

/** A disk to cover, with the backing chain of its image. */
export interface CoveredDisk extends ForeignDisk {
  below: ImageRef[];
}

export function planTake(
  given: Circumstances & { name: string; disks: readonly CoveredDisk[]; nvram: { path: string; exists: boolean } | undefined },
): SnapshotJournal {
  const level = { number: given.levels.length + 1, name: given.name };
  const disks = given.disks.map(
    ({ target, image, below, element }): LevelDisk => ({
      target,
      backing: image,
      below,
      overlay: given.files.overlay(level, target, 1),
      // Not known before the domain is shut off.
      seal: { size: 0, mtimeNs: '0', inode: '0' },
      element: printXml(element),
    }),
  );
  const copy = given.nvram?.exists === true ? given.files.nvram(level) : undefined;
  const taken: SnapshotLevel = {
    ...level,
    takenAt: given.now.toISOString(),
    disks,
    ...(given.nvram === undefined ? {} : { nvram: { path: given.nvram.path, ...(copy === undefined ? {} : { copy }) } }),
  };
  return {
    ...begin('take', given, level),
    after: [...given.levels, taken],
    create: disks.map(freshOverlay),
    ...(given.nvram === undefined || copy === undefined ? {} : { saveNvram: { from: given.nvram.path, to: copy } }),
    ...turnOver(given, disks.map(ontoOverlay)),
  };
}

/** Restores the state of a level: newer levels are removed, this one stays, with empty overlays. */
export function planRollback(given: Circumstances, chosen: SnapshotLevel): SnapshotJournal {
  const disks = chosen.disks.map((disk) => {
    const generation = given.files.generationOf(disk.overlay) + 1;
    return { ...disk, overlay: given.files.overlay(chosen, disk.target, generation) };
  });
  const newer = given.levels.filter(({ number }) => number > chosen.number);
  return {
    ...begin('rollback', given, chosen),
    after: [...given.levels.filter(({ number }) => number < chosen.number), { ...chosen, disks }],
    create: disks.map(freshOverlay),
    ...restoredNvram(chosen),
    remove: [...chosen.disks.map(({ overlay }) => overlay), ...newer.flatMap(filesOf)],
    ...turnOver(given, [...disks.map(ontoOverlay), ...ontoBacking(newer, new Set(disks.map(({ target }) => target)))]),
  };
}

/** Restores the state of the newest level, and removes that level. */
export function planDrop(given: Circumstances, newest: SnapshotLevel): SnapshotJournal {
  return {
    ...begin('drop', given, newest),
    after: given.levels.filter(({ number }) => number < newest.number),
    ...restoredNvram(newest),
    remove: filesOf(newest),
    ...turnOver(given, ontoBacking([newest], new Set())),
  };
}

/** Merges the changes since the newest level into its backing files, and removes that level. */
export function planCommit(given: Circumstances, newest: SnapshotLevel): SnapshotJournal {
  return {
    ...begin('commit', given, newest),
    after: given.levels.filter(({ number }) => number < newest.number),
    merge: newest.disks.map(({ overlay, backing }) => ({ overlay, into: backing })),
    remove: filesOf(newest),
    ...turnOver(given, ontoBacking([newest], new Set())),
  };
}

function begin(verb: SnapshotJournal['verb'], { domain, uuid, wasRunning, now }: Circumstances, level: { number: number; name: string }) {
  return {
    version: 1 as const,
    verb,
    level: { number: level.number, name: level.name },
    domain,
    uuid,
    startedAt: now.toISOString(),
    wasRunning,
    create: [] as SnapshotJournal['create'],
    merge: [] as SnapshotJournal['merge'],
    isMerging: false,
    remove: [] as string[],
  };
}

function turnOver(
  { xml, levels }: Circumstances,
  disks: readonly Omit<SwitchedDisk, 'from'>[],
): Pick<SnapshotJournal, 'switched' | 'xmlBefore' | 'xmlAfter'> {
  const now = expectedDisks(levels);
  // A disk that no level covers yet uses its original.
  const switched = disks.map(({ original, ...disk }: Omit<SwitchedDisk, 'from'> & { original?: ImageRef }) => ({
    ...disk,
    from: now.get(disk.target) ?? original ?? disk.to,
  }));
  return { switched, xmlBefore: xml, xmlAfter: switchDisks(xml, switched) };
}

function ontoOverlay(disk: LevelDisk): Omit<SwitchedDisk, 'from'> & { original: ImageRef } {
  const { target, overlay, element, backing, below } = disk;
  return {
    target,
    to: { path: overlay, format: 'qcow2' },
    element: printXml(overlayElement(parseXml(element, `The disk ${target}`), overlay, [backing, ...below])),
    original: backing,
  };
}

/** Disks as they were before the lowest of some levels, except those that are handled otherwise. */
function ontoBacking(levels: readonly SnapshotLevel[], except: ReadonlySet<string>): Array<Omit<SwitchedDisk, 'from'>> {
  const lowest = new Map<string, LevelDisk>();
  for (const { disks } of levels) for (const disk of disks) if (!lowest.has(disk.target)) lowest.set(disk.target, disk);
  return [...lowest.values()]
    .filter(({ target }) => !except.has(target))
    .map(({ target, backing, element }) => ({ target, to: backing, element }));
}

function freshOverlay({ overlay, backing }: LevelDisk): SnapshotJournal['create'][number] {
  return { path: overlay, backing };
}

function restoredNvram({ nvram }: SnapshotLevel): Pick<SnapshotJournal, 'restoreNvram'> {
  return nvram?.copy === undefined ? {} : { restoreNvram: { from: nvram.copy, to: nvram.path } };
}

function filesOf({ disks, nvram }: SnapshotLevel): string[] {
  return [...disks.map(({ overlay }) => overlay), ...(nvram?.copy === undefined ? [] : [nvram.copy])];
}
