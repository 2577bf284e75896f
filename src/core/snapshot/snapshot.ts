import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { namePattern, nameRule } from '../names.js';
import { shellWord } from '../quoting.js';

/** The record of a domain's snapshots, and helpers for its levels. */

const sealSchema = z.strictObject({ size: z.number().int().nonnegative(), mtimeNs: z.string(), inode: z.string() });
const formatSchema = z.enum(['qcow2', 'raw']);
export type DiskFormat = z.infer<typeof formatSchema>;

const imageRefSchema = z.strictObject({ path: z.string(), format: formatSchema });
/** An image file with its recorded format. */
export type ImageRef = z.infer<typeof imageRefSchema>;

const levelDiskSchema = z.strictObject({
  /** Its target in the domain's XML, e.g. `vda`. */
  target: z.string(),
  /** The backing file of the overlay: the original, or the overlay of the level below. */
  backing: imageRefSchema,
  /** The rest of the backing chain. */
  below: z.array(imageRefSchema),
  overlay: z.string(),
  /** Attributes of the backing file at the take; a difference means that it was written to. */
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
  /** The firmware's variables; without a copy if there was no file yet. */
  nvram: z.strictObject({ path: z.string(), copy: z.string().optional() }).optional(),
});
export type SnapshotLevel = z.infer<typeof levelSchema>;

/** snapshots.json */
export const snapshotRecordSchema = z.strictObject({
  version: z.literal(1),
  /** The domain's name when the newest snapshot was taken; the UUID identifies it. */
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
  /** A disk element with the new driver type, source and backingStore. */
  element: z.string(),
});
export type SwitchedDisk = z.infer<typeof switchedDiskSchema>;

/**
 * journal.json: a running command, with everything that is needed to finish it. Every command prepares new files beside the old
 * ones, switches the domain with one definition, and cleans up. After a crash, the domain itself shows whether it was switched.
 */
export const snapshotJournalSchema = z.strictObject({
  version: z.literal(1),
  verb: z.enum(snapshotVerbs),
  /** The target level. */
  level: z.strictObject({ number: z.number().int().positive(), name: z.string() }),
  domain: z.string(),
  uuid: z.uuid(),
  startedAt: z.iso.datetime(),
  wasRunning: z.boolean(),
  /** The levels afterwards. */
  after: z.array(levelSchema),
  switched: z.array(switchedDiskSchema),
  create: z.array(z.strictObject({ path: z.string(), backing: imageRefSchema })),
  /** Overlays to merge into their backing files. */
  merge: z.array(z.strictObject({ overlay: z.string(), into: imageRefSchema })),
  /** Whether merging has begun, so that it cannot be undone. */
  isMerging: z.boolean(),
  /** Whether only the start is missing. */
  isCleared: z.boolean().optional(),
  saveNvram: z.strictObject({ from: z.string(), to: z.string() }).optional(),
  restoreNvram: z.strictObject({ from: z.string(), to: z.string() }).optional(),
  /** Files of the snapshot directory that are unused afterwards. */
  remove: z.array(z.string()),
  /** For manual repair. */
  xmlBefore: z.string(),
  xmlAfter: z.string(),
});
export type SnapshotJournal = z.infer<typeof snapshotJournalSchema>;

/** The obstacle for a missing file; with any other obstacle, the file may exist. */
export const isNotThere = 'it does not exist';

export function assertSnapshotName(name: string): string {
  if (namePattern.test(name)) return name;
  throw new CowherdError('BAD_USAGE', `${JSON.stringify(name.slice(0, 60))} is not a snapshot name`, {
    hint: `A snapshot name has ${nameRule}.`,
  });
}

/** The default name, in UTC: `20260131-101502`. */
export function defaultSnapshotName(now: Date): string {
  return now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
}

export function newestLevel(levels: readonly SnapshotLevel[]): SnapshotLevel | undefined {
  return levels.at(-1);
}

/**
 * @param ref a name or a number; default: the newest level
 * @throws SNAPSHOT_NOT_FOUND
 */
export function findLevel(domain: string, levels: readonly SnapshotLevel[], ref: string | undefined): SnapshotLevel {
  const found =
    ref === undefined
      ? newestLevel(levels)
      : (levels.find(({ name }) => name === ref) ?? levels.find(({ number }) => String(number) === ref));
  if (found !== undefined) return found;
  if (ref === undefined || levels.length === 0) {
    throw new CowherdError('SNAPSHOT_NOT_FOUND', `${domain} has no snapshot`, {
      hint: `Take one: cowherd snapshot take ${shellWord(domain)}`,
    });
  }
  throw new CowherdError('SNAPSHOT_NOT_FOUND', `${domain} has no snapshot ${JSON.stringify(ref)}`, {
    hint: `It has ${levels.map(levelName).join(', ')}.`,
  });
}

/** Drop and commit need the newest level, since newer levels are based on older ones. @throws SNAPSHOT_NOT_FOUND, BAD_USAGE */
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
        ? `Roll back to it first, which discards the newer ones: cowherd snapshot rollback ${shellWord(domain)} ${level.name}; then drop it.`
        : `Commit from the top: cowherd snapshot commit ${shellWord(domain)} merges ${newest.name} into ${levels.at(-2)?.name ?? 'the original'}.`,
  });
}

/** `2 (after-update)` */
export function levelName({ number, name }: Pick<SnapshotLevel, 'number' | 'name'>): string {
  return `${number} (${name})`;
}

/** The current images of the domain's disks, by target, according to the record. */
export function expectedDisks(levels: readonly SnapshotLevel[]): Map<string, ImageRef> {
  const expected = new Map<string, ImageRef>();
  for (const { disks } of levels) for (const { target, overlay } of disks) expected.set(target, { path: overlay, format: 'qcow2' });
  return expected;
}
