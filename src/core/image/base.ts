import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { type BaseRef, baseRefSchema } from '../fleet/record.js';
import { contentsSchema, imageDefaultsSchema, preparedSchema, pulledSchema } from './origin.js';

const sealSchema = z.strictObject({ size: z.number().int().nonnegative(), mtimeNs: z.string(), inode: z.string() });

/** The record of <digest12>.memory beside a base image. */
export const warmMemorySchema = z.strictObject({
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  seal: sealSchema,
  bytes: z.number().int().positive(),
  allocatedBytes: z.number().int().nonnegative(),
  takenAt: z.iso.datetime(),
  /** The identity of the source VM when it was frozen. */
  domain: z.string(),
  /** Its network cards, in the order of its XML; isUp: the link was up. */
  cards: z.array(z.strictObject({ mac: z.string(), isUp: z.boolean() })),
  /** IPv4 addresses of these cards. */
  addresses: z.array(z.string()),
  /** Types of its ssh host keys, e.g. `ssh-ed25519`. */
  hostKeyTypes: z.array(z.string()),
  memoryMiB: z.number().int().positive(),
  machine: z.string(),
  /** Versions of the software that saved the memory. */
  libvirt: z.string(),
  hypervisor: z.string(),
  /** If clones share the memory: <digest12>.ram, from which each maps it. The digest above is that of the rest. */
  ram: z
    .strictObject({
      digest: z.string().regex(/^[0-9a-f]{64}$/),
      seal: sealSchema,
      /** Size of the guest's memory. */
      bytes: z.number().int().positive(),
      allocatedBytes: z.number().int().nonnegative(),
    })
    .optional(),
  /** Why clones do not share it; unset also if it was saved before cowherd could. */
  whole: z.string().optional(),
});
export type WarmMemory = z.infer<typeof warmMemorySchema>;

/** <digest12>.json beside a base image: its origin, and the seal that its file must match. */
export const baseRecordSchema = z.strictObject({
  version: z.literal(1),
  ...baseRefSchema.shape,
  format: z.enum(['qcow2', 'raw']),
  /** Size of the guest's disk in bytes. */
  virtualBytes: z.number().int().positive(),
  importedAt: z.iso.datetime(),
  source: z.strictObject({
    path: z.string(),
    /** Identity of the source file when it was read, so that a repeated import need not read it. */
    fingerprint: z.string(),
  }),
  /** Attributes of the sealed file; a difference means that it was changed. mtime in nanoseconds as a string. */
  seal: sealSchema,
  /** Bytes on disk (st_blocks × 512). */
  allocatedBytes: z.number().int().nonnegative(),
  /** For a layered base image: its parent. */
  parent: baseRefSchema.optional(),
  /** The member that it was promoted from, and that member's base image. */
  promotedFrom: z.strictObject({ fleet: z.string(), member: z.string(), base: baseRefSchema }).optional(),
  /** For a warm base image: the memory of a running VM with this disk, from which clones resume. */
  warm: warmMemorySchema.optional(),
  /** If it was downloaded. */
  pulled: pulledSchema.optional(),
  contents: contentsSchema.optional(),
  defaults: imageDefaultsSchema.optional(),
  prepared: preparedSchema.optional(),
});
export type BaseRecord = z.infer<typeof baseRecordSchema>;

/** One file of a base image; each layer has its own. */
export type BaseLayer = Readonly<Pick<BaseRecord, 'name' | 'digest' | 'format' | 'seal' | 'allocatedBytes'>> & { readonly path: string };

/** A base image in the store. A distinct type, which no function accepts for writing. */
export interface BaseImage extends BaseRecord {
  readonly path: string;
  /** The base images below a layered one, nearest first. Empty for others. */
  readonly backing: readonly BaseLayer[];
}

export function shortDigest(digest: string): string {
  return digest.slice(0, 12);
}

/** `golden@1a2b3c4d5e6f` identifies one base image; a name alone means its newest import. */
export function formatBaseRef({ name, digest }: BaseRef): string {
  return `${name}@${shortDigest(digest)}`;
}

/** `golden`, `golden@1a2b3c4d5e6f` or a digest of at least 12 digits, taken apart. Twelve hex digits are a digest. */
export function parseBaseRef(ref: string): { name: string | undefined; digest: string } {
  if (/^[0-9a-f]{12,64}$/.test(ref)) return { name: undefined, digest: ref };
  const match = /^([a-z0-9][a-z0-9-]{0,39})(?:@([0-9a-f]{6,64}))?$/.exec(ref);
  if (match === null) {
    throw new CowherdError('BASE_NOT_FOUND', `${JSON.stringify(ref)} is not a base image reference`, {
      hint: 'Write NAME, NAME@DIGEST or a digest; "cowherd base list" shows them.',
    });
  }
  return { name: match[1], digest: match[2] ?? '' };
}

/** Whether `--base` names an image of the store and not a file: a file name has a dot or a slash. */
export function isBaseRef(text: string): boolean {
  return /^[a-z0-9-]+(@[0-9a-f]+)?$/.test(text);
}

export interface Seal {
  size: number;
  mtimeNs: string;
  inode: string;
}

/** Also used if a directory or a link has its name. */
export const goneDifference = 'the file is missing';

/** @returns the differences between the record and the file, for display */
export function sealDifferences(recorded: Seal, seen: Seal | undefined): string[] {
  if (seen === undefined) return [goneDifference];
  const differences: string[] = [];
  if (seen.size !== recorded.size) differences.push(`size ${recorded.size} → ${seen.size} bytes`);
  if (seen.mtimeNs !== recorded.mtimeNs) differences.push('modification time');
  if (seen.inode !== recorded.inode) differences.push('inode (it is another file)');
  return differences;
}

export function bringBackHint({ name }: Pick<BaseRecord, 'name'>): string {
  return `Import the original again: cowherd base add FILE --name ${name}; for a promoted image, promote its member again. If it was only moved or copied: cowherd base relocate`;
}

/** @throws BASE_CHANGED */
export function assertSeal(base: BaseLayer, seen: Seal | undefined): void {
  const differences = sealDifferences(base.seal, seen);
  if (differences.length === 0) return;
  throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(base)} has changed since it was imported: ${differences.join(', ')}`, {
    details: [base.path],
    hint: `Every overlay on it may be corrupt. "cowherd base verify ${formatBaseRef(base)}" compares its content. ${bringBackHint(base)}`,
  });
}
