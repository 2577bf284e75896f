import { CowherdError } from '../errors.js';
import type { BaseRef } from '../spec/spec.js';
import { type BaseImage, type BaseLayer, type BaseRecord, formatBaseRef } from './base.js';

/** Chains of layered base images, and which images are unused. */

/** A guest's read may pass the whole chain, and each layer needs memory for its tables in every guest. */
export const maxLayers = 4;

/** Key of an image in maps and sets. */
export function baseKey({ name, digest }: BaseRef): string {
  return `${name}@${digest}`;
}

/** All files of a base image, its own first. */
export function layersOf(base: BaseImage): readonly BaseLayer[] {
  return [base, ...base.backing];
}

/** Bytes on disk of all its files. */
export function chainBytes(base: BaseImage): number {
  return layersOf(base).reduce((sum, layer) => sum + layer.allocatedBytes, 0);
}

/** A base image without its backing chain, as in its own record. */
export type LoneBase = BaseRecord & { readonly path: string };

/**
 * The backing chain of a layered base image, nearest first.
 * @param parentOf the parent of a record; undefined if it is not in the store
 * @throws BASE_CHANGED if one is missing, STATE_DAMAGED if the records are cyclic or the chain is too long
 */
export async function resolveBacking(
  base: LoneBase,
  parentOf: (ref: BaseRef) => LoneBase | undefined | Promise<LoneBase | undefined>,
): Promise<BaseLayer[]> {
  const backing: LoneBase[] = [];
  const seen = new Set([baseKey(base)]);
  for (let above = base; above.parent !== undefined; ) {
    const { parent } = above;
    if (seen.has(baseKey(parent)) || seen.size >= maxLayers) {
      const why = seen.has(baseKey(parent)) ? 'is based on itself' : `has more than ${maxLayers} layers`;
      throw new CowherdError('STATE_DAMAGED', `Base image ${formatBaseRef(base)} ${why}, according to the records`, {
        details: [base.path],
        hint: 'cowherd never creates such an image: restore its record.',
      });
    }
    const below = await parentOf(parent);
    if (below === undefined) {
      throw new CowherdError(
        'BASE_CHANGED',
        `Base image ${formatBaseRef(base)} is based on ${formatBaseRef(parent)}, which is not in the store`,
        {
          details: [base.path],
          hint: `Import the file with sha256 ${parent.digest} again: cowherd base add FILE --name ${parent.name}`,
        },
      );
    }
    seen.add(baseKey(parent));
    backing.push(below);
    above = below;
  }
  return backing.map(({ name, digest, path, format, seal, allocatedBytes }) => ({ name, digest, path, format, seal, allocatedBytes }));
}

/** The images that are based directly on this one. */
export function childrenOf<B extends LoneBase>(bases: readonly B[], base: BaseRef): B[] {
  return bases.filter(({ parent }) => parent !== undefined && baseKey(parent) === baseKey(base));
}

/**
 * Unused images, in an order in which they can be removed: upper layers before lower ones.
 * @param isUsed whether a fleet, an operation or a domain uses it
 * @param keepNewest keep the newest import of each name, and its backing chain
 */
export function unreferencedBases(bases: readonly BaseImage[], isUsed: (base: BaseImage) => boolean, keepNewest: boolean): BaseImage[] {
  const newest = new Map<string, BaseImage>();
  for (const base of bases) if ((newest.get(base.name)?.importedAt ?? '') < base.importedAt) newest.set(base.name, base);
  const kept = new Set<string>();
  for (const base of bases) {
    if (isUsed(base) || (keepNewest && newest.get(base.name) === base)) for (const layer of layersOf(base)) kept.add(baseKey(layer));
  }
  return bases
    .filter((base) => !kept.has(baseKey(base)))
    .sort((a, b) => b.backing.length - a.backing.length || a.name.localeCompare(b.name) || a.importedAt.localeCompare(b.importedAt));
}
