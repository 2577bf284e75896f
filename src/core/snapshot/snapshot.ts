import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { namePattern, nameRule } from '../names.js';

/** The record of a domain's snapshots, and the words about its levels. */

const sealSchema = z.strictObject({ size: z.number().int().nonnegative(), mtimeNs: z.string(), inode: z.string() });
const formatSchema = z.enum(['qcow2', 'raw']);
export type DiskFormat = z.infer<typeof formatSchema>;

const imageRefSchema = z.strictObject({ path: z.string(), format: formatSchema });
/** An image file with the format that was told of it. */
export type ImageRef = z.infer<typeof imageRefSchema>;

const levelDiskSchema = z.strictObject({
  /** `vda`: what the guest's bus calls it, and what it is known by in the domain's XML. */
  target: z.string(),
  /** What the overlay stands on: the original, or the overlay of the level below. */
  backing: imageRefSchema,
  /** What that stands on, down to the end. */
  below: z.array(imageRefSchema),
  overlay: z.string(),
  /** What the backing file looked like at the take; a difference means that somebody wrote into it. */
  seal: sealSchema,
  /** The disk's element as it was before the take. */
  element: z.string(),
});
export type LevelDisk = z.infer<typeof levelDiskSchema>;

const levelSchema = z.strictObject({
  /** From 1, the lowest. */
  number: z.number().int().positive(),
  name: z.string(),
  takenAt: z.iso.datetime(),
  disks: z.array(levelDiskSchema),
  /** The firmware's variables; without a copy where there was no file yet. */
  nvram: z.strictObject({ path: z.string(), copy: z.string().optional() }).optional(),
});
export type SnapshotLevel = z.infer<typeof levelSchema>;

/** snapshots.json */
export const snapshotRecordSchema = z.strictObject({
  version: z.literal(1),
  /** The domain's name when the newest snapshot was taken; its UUID is what counts. */
  name: z.string(),
  uuid: z.uuid(),
  levels: z.array(levelSchema),
});
export type SnapshotRecord = z.infer<typeof snapshotRecordSchema>;

export const snapshotVerbs = ['take', 'rollback', 'drop', 'commit'] as const;
export type SnapshotVerb = (typeof snapshotVerbs)[number];

const switchedDiskSchema = z.strictObject({
  target: z.string(),
  from: imageRefSchema,
  to: imageRefSchema,
  /** A disk element whose driver type, source and backingStore the disk gets. */
  element: z.string(),
});
export type SwitchedDisk = z.infer<typeof switchedDiskSchema>;

/**
 * journal.json: a verb that is under way, with all that is needed to finish it. Every verb prepares new files beside the old
 * ones, turns the domain over with one definition, and clears up: which side a crash left it on is read from the domain itself.
 */
export const snapshotJournalSchema = z.strictObject({
  version: z.literal(1),
  verb: z.enum(snapshotVerbs),
  /** The level that it is about. */
  level: z.strictObject({ number: z.number().int().positive(), name: z.string() }),
  domain: z.string(),
  uuid: z.uuid(),
  startedAt: z.iso.datetime(),
  wasRunning: z.boolean(),
  /** The levels when it is done. */
  after: z.array(levelSchema),
  switched: z.array(switchedDiskSchema),
  create: z.array(z.strictObject({ path: z.string(), backing: imageRefSchema })),
  /** Overlays that are written into what they stand on. */
  merge: z.array(z.strictObject({ overlay: z.string(), into: imageRefSchema })),
  /** The first of them was begun: there is no way back. */
  isMerging: z.boolean(),
  /** All is done but the start. */
  isCleared: z.boolean().optional(),
  saveNvram: z.strictObject({ from: z.string(), to: z.string() }).optional(),
  restoreNvram: z.strictObject({ from: z.string(), to: z.string() }).optional(),
  /** Files of the snapshot directory that nothing needs afterwards. */
  remove: z.array(z.string()),
  /** For a person who has to mend things by hand. */
  xmlBefore: z.string(),
  xmlAfter: z.string(),
});
export type SnapshotJournal = z.infer<typeof snapshotJournalSchema>;

/** What keeps one from reading a file that is not there; other reasons say that it may well be. */
export const isNotThere = 'it does not exist';

export function assertSnapshotName(name: string): string {
  if (namePattern.test(name)) return name;
  throw new CowherdError('BAD_USAGE', `${JSON.stringify(name.slice(0, 60))} is not a snapshot name`, {
    hint: `A snapshot name has ${nameRule}.`,
  });
}

/** `20260131-101502`, in UTC: when nobody gave a name. */
export function defaultSnapshotName(now: Date): string {
  return now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
}

export function newestLevel(levels: readonly SnapshotLevel[]): SnapshotLevel | undefined {
  return levels.at(-1);
}

/**
 * @param ref a name or a number; the newest level when left out
 * @throws SNAPSHOT_NOT_FOUND
 */
export function findLevel(domain: string, levels: readonly SnapshotLevel[], ref: string | undefined): SnapshotLevel {
  const found =
    ref === undefined
      ? newestLevel(levels)
      : (levels.find(({ name }) => name === ref) ?? levels.find(({ number }) => String(number) === ref));
  if (found !== undefined) return found;
  if (ref === undefined || levels.length === 0) {
    throw new CowherdError('SNAPSHOT_NOT_FOUND', `${domain} has no snapshot`, { hint: `Take one: cowherd snapshot take ${domain}` });
  }
  throw new CowherdError('SNAPSHOT_NOT_FOUND', `${domain} has no snapshot ${JSON.stringify(ref)}`, {
    hint: `It has ${levels.map(levelName).join(', ')}.`,
  });
}

/** Drop and commit work from the top: what a middle level holds, those above it stand on. @throws SNAPSHOT_NOT_FOUND, BAD_USAGE */
export function newestOnly(
  verb: 'drop' | 'commit',
  domain: string,
  levels: readonly SnapshotLevel[],
  ref: string | undefined,
): SnapshotLevel {
  const level = findLevel(domain, levels, ref);
  const newest = newestLevel(levels);
  if (newest === undefined || level.number === newest.number) return level;
  throw new CowherdError('BAD_USAGE', `${levelName(level)} is not the newest snapshot of ${domain}: ${levelName(newest)} is based on it`, {
    hint:
      verb === 'drop'
        ? `Roll back to it first, which discards the newer ones: cowherd snapshot rollback ${domain} ${level.name}; then drop it.`
        : `Commit from the top: cowherd snapshot commit ${domain} merges ${newest.name} into ${levels.at(-2)?.name ?? 'the original'}.`,
  });
}

/** `2 (after-update)` */
export function levelName({ number, name }: Pick<SnapshotLevel, 'number' | 'name'>): string {
  return `${number} (${name})`;
}

/** What the domain's disk must be now, by target, according to the record. */
export function expectedDisks(levels: readonly SnapshotLevel[]): Map<string, ImageRef> {
  const expected = new Map<string, ImageRef>();
  for (const { disks } of levels) for (const { target, overlay } of disks) expected.set(target, { path: overlay, format: 'qcow2' });
  return expected;
}

/** The images that the lowest overlays stand on, by target: cowherd did not make them. */
export function originals(levels: readonly SnapshotLevel[]): Map<string, LevelDisk> {
  const lowest = new Map<string, LevelDisk>();
  for (const { disks } of levels) for (const disk of disks) if (!lowest.has(disk.target)) lowest.set(disk.target, disk);
  return lowest;
}
