import { z } from 'zod';

/** What a base image's record says about where it came from and what is in it. All optional: records of earlier versions lack them. */

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** What says that a downloaded image is the right one: see docs/base-images.md. */
export const vouchers = ['signed list', 'list', 'given digest', 'nothing'] as const;
export type Voucher = (typeof vouchers)[number];

/** A base image that was downloaded. A repeated pull compares these values instead of downloading the image again. */
export const pulledSchema = z.strictObject({
  /** As requested, before redirects; without a password. */
  url: z.string(),
  /** The name in the catalog that led to this URL. */
  catalog: z.string().optional(),
  /** The user's own catalog that it is from: a path or a URL without a password. */
  catalogFile: z.string().optional(),
  /** Of that name in the catalog. */
  arch: z.enum(['x86_64', 'aarch64']).optional(),
  pulledAt: z.iso.datetime(),
  /** Of the download, which may be compressed: not the digest of the image. */
  sha256,
  sha512: z
    .string()
    .regex(/^[0-9a-f]{128}$/)
    .optional(),
  bytes: z.number().int().positive(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  verifiedBy: z.enum(vouchers),
  /** The list of digests that was used. */
  list: z.string().optional(),
  /** Of a signed list: the fingerprint of the key. */
  key: z.string().optional(),
  /** What was unpacked or converted, outermost first: `xz`, `tar`, `vmdk`. */
  unpacked: z.array(z.string()).default([]),
  /** Of an archive with several disks: the name of the one that was asked for. */
  disk: z.string().optional(),
});
export type Pulled = z.infer<typeof pulledSchema>;

/** What was found in an image without booting it. Absent values could not be found out. */
export const contentsSchema = z.strictObject({
  /** ID, VERSION_ID and PRETTY_NAME of os-release(5). */
  os: z.strictObject({ id: z.string(), version: z.string().optional(), name: z.string().optional() }).optional(),
  cloudInit: z.boolean().optional(),
  /** The QEMU guest agent is installed. */
  agent: z.boolean().optional(),
  /** The firmware that can boot it. */
  firmware: z.enum(['bios', 'uefi', 'both']).optional(),
});
export type Contents = z.infer<typeof contentsSchema>;

/** Defaults for new fleets on this image: from its catalog entry, otherwise from its contents. */
export const imageDefaultsSchema = z.strictObject({
  firmware: z.enum(['bios', 'uefi']).optional(),
  seed: z.enum(['none', 'nocloud', 'smbios']).optional(),
  /** The stage that `--wait auto` waits for. */
  wait: z.enum(['running', 'address', 'agent', 'ssh', 'cloud-init']).optional(),
  /** The least memory that it boots with. */
  memoryMiB: z.number().int().positive().optional(),
  /** The user of a cloud image that may log in. */
  sshUser: z.string().optional(),
});
export type ImageDefaults = z.infer<typeof imageDefaultsSchema>;

/** How an image was prepared from another one. Images with the same recipe on the same base image are the same. */
export const preparedSchema = z.strictObject({
  /** sha256 of the recipe and of the base image's digest. */
  recipe: sha256,
  generalized: z.boolean(),
});
export type Prepared = z.infer<typeof preparedSchema>;
