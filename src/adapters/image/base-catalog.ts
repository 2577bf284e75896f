import { lstat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CowherdError, reportOf } from '../../core/errors.js';
import { type BaseRef, parseState } from '../../core/fleet/record.js';
import {
  type BaseImage,
  type BaseLayer,
  type BaseRecord,
  baseRecordSchema,
  formatBaseRef,
  parseBaseRef,
  type Seal,
  sealDifferences,
  shortDigest,
} from '../../core/image/base.js';
import { baseKey, type LoneBase, resolveBacking } from '../../core/image/base-chain.js';
import { givenDefaults } from '../../core/image/image-defaults.js';
import type { ImageDefaults } from '../../core/image/origin.js';
import { namePattern } from '../../core/names.js';
import { listDirectory, sealOf } from '../store/files/files.js';
import { readOwn } from '../store/files/own-files.js';
import { baseLayout, storeLayout } from '../store/layout.js';

/** What a record says about an image beyond its content and its file. */
const originKeys = ['promotedFrom', 'warm', 'pulled', 'contents', 'defaults', 'prepared'] as const;

/** The records of the base images in a store, read only. */
export class BaseCatalog {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async list(): Promise<{ bases: BaseImage[]; damaged: Array<{ path: string; reason: string }> }> {
    const { bases, damaged, broken } = await this.#survey();
    return { bases, damaged: [...damaged, ...broken.map(({ base, error }) => ({ path: base.path, reason: reportOf(error).message }))] };
  }

  /** Every image with a readable record; `broken` are those whose backing image is missing. */
  async #survey(): Promise<{
    bases: BaseImage[];
    broken: Array<{ base: LoneBase; error: unknown }>;
    damaged: Array<{ path: string; reason: string }>;
  }> {
    const { bases: directory } = storeLayout(this.#root);
    const lone: LoneBase[] = [];
    const damaged: Array<{ path: string; reason: string }> = [];
    for (const name of (await listDirectory(directory)).filter((entry) => namePattern.test(entry)).sort()) {
      for (const file of (await listDirectory(join(directory, name))).filter(
        (entry) => entry.endsWith('.json') && !entry.startsWith('.'),
      )) {
        const path = join(directory, name, file);
        try {
          const record = parseBaseRecord(name, file, String(await readOwn(path)));
          lone.push({ ...record, path: baseLayout(this.#root, record, record.format).image });
        } catch (error) {
          damaged.push({ path, reason: reportOf(error).message });
        }
      }
    }
    const byKey = new Map(lone.map((base) => [baseKey(base), base]));
    const bases: BaseImage[] = [];
    const broken: Array<{ base: LoneBase; error: unknown }> = [];
    for (const base of lone) {
      try {
        bases.push({ ...base, backing: await resolveBacking(base, (ref) => byKey.get(baseKey(ref))) });
      } catch (error) {
        broken.push({ base, error });
      }
    }
    return { bases, broken, damaged };
  }

  async find(ref: string): Promise<BaseImage> {
    const { bases, broken, damaged } = await this.#survey();
    const { name, digest } = parseBaseRef(ref);
    const found = [...bases, ...broken.map(({ base }) => base)]
      .filter((base) => (name === undefined || base.name === name) && base.digest.startsWith(digest))
      .sort((a, b) => b.importedAt.localeCompare(a.importedAt));
    const contents = new Set(found.map((base) => base.digest));
    if (digest !== '' && contents.size > 1) {
      throw new CowherdError('BAD_USAGE', `${ref} is ambiguous: ${contents.size} base images match`, {
        hint: 'Write more digits of the digest.',
      });
    }
    const newest = found[0];
    const sound = bases.find((base) => base === newest);
    if (sound !== undefined) return sound;
    // A bare name never means an older image of that name.
    const failure = broken.find(({ base }) => base === newest);
    if (failure !== undefined) throw failure.error;
    const hit = damaged.find(
      (entry) => name !== undefined && dirname(entry.path) === dirname(baseLayout(this.#root, { name, digest }, '').record),
    );
    if (hit !== undefined) {
      throw new CowherdError('STATE_DAMAGED', `The record of base image ${JSON.stringify(ref)} cannot be used: ${hit.reason}`, {
        details: [hit.path],
        hint: `Import the image again: cowherd base add FILE --name ${name}`,
      });
    }
    const names = [...new Set(bases.map((base) => base.name))];
    throw new CowherdError('BASE_NOT_FOUND', `There is no base image ${JSON.stringify(ref)} in the store`, {
      details: damaged.map(({ path, reason }) => `${path}: ${reason}`),
      hint:
        names.length === 0
          ? 'The store has no base images yet. To use a file, give its extension or a path: golden.qcow2, ./golden.'
          : `The store has ${names.slice(0, 8).join(', ')}. To use a file, give its extension or a path: ./golden`,
    });
  }

  async get(ref: BaseRef): Promise<BaseImage | undefined> {
    const base = await this.getLone(ref);
    return base === undefined ? undefined : { ...base, backing: await resolveBacking(base, (parent) => this.getLone(parent)) };
  }

  async getLone(ref: BaseRef): Promise<LoneBase | undefined> {
    // Does not list the store: one damaged or foreign record must not block this one.
    for (const format of ['qcow2', 'raw'] as const) {
      const { image, record: path } = baseLayout(this.#root, ref, format);
      const text = await readOwn(path).then(String, () => undefined);
      if (text === undefined) continue;
      const record = parseBaseRecord(ref.name, basename(path), text);
      if (record.format === format && record.digest === ref.digest) return { ...record, path: image };
    }
    return undefined;
  }

  async seal(base: BaseLayer): Promise<Seal | undefined> {
    const stats = await lstat(base.path, { bigint: true }).catch(() => undefined);
    return stats?.isFile() ? sealOf(stats) : undefined;
  }

  async isIntact(base: BaseImage): Promise<boolean> {
    return sealDifferences(base.seal, await this.seal(base)).length === 0;
  }

  /** The image with that content, unless its file was changed. */
  async existing(ref: BaseRef): Promise<BaseImage | undefined> {
    // An image with a damaged record is restored by the new import.
    const existing = await this.get({ name: ref.name, digest: ref.digest }).catch(() => undefined);
    return existing !== undefined && (await this.isIntact(existing)) ? existing : undefined;
  }

  /** What the record of an image that is imported again keeps: where it came from, and defaults that are not found in it. */
  async originOf(ref: BaseRef): Promise<{ origin: Pick<BaseRecord, (typeof originKeys)[number]>; given: ImageDefaults }> {
    const lone = await this.getLone(ref).catch(() => undefined);
    const known = Object.entries(lone ?? {}).filter(([key]) => (originKeys as readonly string[]).includes(key));
    return { origin: Object.fromEntries(known), given: lone === undefined ? {} : givenDefaults(lone) };
  }
}

/** @throws STATE_DAMAGED, also if it is the record of another image */
function parseBaseRecord(name: string, file: string, text: string): BaseRecord {
  const hint = `Import the image again: cowherd base add FILE --name ${name}`;
  const record = parseState(baseRecordSchema, name, file, text, hint);
  if (record.name === name && file === `${shortDigest(record.digest)}.json`) return record;
  throw new CowherdError('STATE_DAMAGED', `${file} of ${name} is the record of another base image, ${formatBaseRef(record)}`, { hint });
}

/** A base image as its record describes it. */
export function recordOf({ path: _path, backing: _backing, ...record }: BaseImage, source: BaseRecord['source']): BaseRecord {
  return { ...record, source };
}
