import { z } from 'zod';
import { limits, maxLength } from '../limits.js';
import { integerWithin, name, sshUser } from '../spec/field-schemas.js';
import { imageDefaultsSchema } from './origin.js';

/** The form of a catalog: images that can be downloaded by name. */

export const architectures = ['x86_64', 'aarch64'] as const;
export type Architecture = (typeof architectures)[number];

const address = z
  .string()
  .max(maxLength.path)
  .regex(/^https?:\/\/[^\s/]+\/[^\s]*$/i, 'is not an http or https URL');
const url = address.refine((text) => !text.includes('*'), 'must name one file: only the URL of an image may have a *');

/** A release may have a version in its name, such as `ubuntu-24.04`; a base image cannot. */
const alias = z
  .string()
  .regex(
    new RegExp(`^[a-z0-9][a-z0-9.-]{0,${maxLength.name - 1}}$`),
    `is not an alias: lower-case letters, digits, dots and hyphens, starting with a letter or digit, at most ${maxLength.name} characters`,
  );

/** How the files of a distribution are listed with their digests. */
export const listSchema = z.strictObject({
  /** A file as sha256sum or shasum --tag write it, or one with a single digest. */
  url,
  hash: z.enum(['sha256', 'sha512']),
  /** A separate signature of the list; `inline` if it is clear-signed. */
  signature: z.union([z.literal('inline'), url], 'is neither "inline" nor an http or https URL').optional(),
  /** Files with the public key on hosts that have it. */
  keyrings: z.array(z.string().max(maxLength.path).startsWith('/', 'is not an absolute path')).max(20).default([]),
});

export const imageFileSchema = z
  .strictObject({
    /** If the file name has a `*`, the list says which file it is: its newest match. */
    url: address.regex(/^[^*]*\/[^*/]*(\*[^*/]*)?$/, 'may have one *, in its last part'),
    list: listSchema.optional(),
    /** Instead of that of the defaults, for instance on aarch64. */
    firmware: imageDefaultsSchema.shape.firmware,
  })
  .refine(({ url: file, list }) => !file.includes('*') || list !== undefined, {
    message: 'has a *, so it needs a list that says which file it is',
    path: ['url'],
  });
export type CatalogFile = z.output<typeof imageFileSchema>;

/** Stricter than in a record: a catalog may come from the network. */
export const catalogDefaultsSchema = imageDefaultsSchema.extend({
  memoryMiB: integerWithin(limits.memoryMiB).optional(),
  sshUser: sshUser.optional(),
});

export const catalogImageSchema = z.strictObject({
  name,
  /** Default: the name. */
  title: z
    .string()
    .max(80)
    .regex(/^\P{Cc}+$/u, 'is empty or has a control character')
    .optional(),
  /** Other names for it, such as `debian` for the current release. */
  aliases: z.array(alias).max(10).default([]),
  defaults: catalogDefaultsSchema.default({}),
  files: z
    .strictObject({ x86_64: imageFileSchema.optional(), aarch64: imageFileSchema.optional() })
    .refine((files) => Object.keys(files).length > 0, `has no file: write x86_64 or aarch64`),
});
export type CatalogImage = z.output<typeof catalogImageSchema>;

export const catalogSchema = z.strictObject({
  version: z.literal(1).default(1),
  /** The day on which the addresses were last changed. */
  updated: z.iso.date().optional(),
  images: z.array(catalogImageSchema).max(500),
});
export type Catalog = z.output<typeof catalogSchema>;
