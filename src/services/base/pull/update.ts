import { CowherdError } from '../../../core/errors.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { baseKey } from '../../../core/image/base-chain.js';
import type { Ports } from '../../../ports/index.js';
import type { WorkOptions } from '../../fleet/access.js';
import { baseUsers } from '../users.js';
import type { PullOptions } from './options.js';
import { type PullResult, pullBase } from './pull.js';

export interface UpdateOptions extends WorkOptions {
  /** Name of a base image that was pulled. */
  name: string;
  /** Digests of the new file, if digests were given for the old one. */
  sha256?: string | undefined;
  sha512?: string | undefined;
  /** A further catalog: a path or URL. */
  catalog?: string | undefined;
  maxBytes?: number | undefined;
}

export interface Update extends PullResult {
  /** Whether a newer image was found. */
  isNew: boolean;
  previous: string;
  /** The image that the name stands for now: another one if an earlier image was found again. */
  current: string;
  /** Fleets with members on an older image of that name. */
  outdated: string[];
}

/**
 * Pulls a base image again from where it came from. A newer image gets the same name, and fleets stay on the one that they use.
 * @throws as {@link pullBase}; BAD_USAGE if it was not pulled, or was verified by a digest that only applies to the old file
 */
export async function updateBase(ports: Ports, options: UpdateOptions): Promise<Update> {
  const { name, sha256, sha512, maxBytes, signal, onProgress } = options;
  const current = await ports.bases.find(name);
  const result = await pullBase(ports, { ...originOf(current, options), as: current.name, sha256, sha512, maxBytes, signal, onProgress });
  const { bases, users } = await namesakes(ports, current.name);
  const older = bases.filter((base) => base.digest !== result.digest);
  return {
    ...result,
    isNew: result.how !== 'already there',
    previous: formatBaseRef(current),
    current: formatBaseRef(await ports.bases.find(current.name)),
    outdated: [...new Set(older.flatMap((base) => users.get(baseKey(base)) ?? []))].sort(),
  };
}

/** @throws BAD_USAGE */
function originOf(
  base: BaseImage,
  { sha256, sha512, catalog }: UpdateOptions,
): Pick<PullOptions, 'image' | 'checksums' | 'catalog' | 'arch' | 'disk'> {
  const { pulled } = base;
  if (pulled === undefined) {
    throw new CowherdError('BAD_USAGE', `Base image ${formatBaseRef(base)} was not pulled`, {
      hint: `Add the newer file under the same name: cowherd base add FILE --name ${base.name}`,
    });
  }
  if (pulled.catalog !== undefined)
    return { image: pulled.catalog, arch: pulled.arch, catalog: catalog ?? pulled.catalogFile, disk: pulled.disk };
  if (pulled.verifiedBy === 'given digest' && sha256 === undefined && sha512 === undefined) {
    throw new CowherdError('BAD_USAGE', `Base image ${formatBaseRef(base)} was verified by a digest, and a newer file has another one`, {
      hint: `Give the digest of the newer file: cowherd base update ${base.name} --sha256 HEX`,
    });
  }
  return { image: pulled.url, checksums: pulled.list, disk: pulled.disk };
}

async function namesakes(ports: Ports, name: string): Promise<{ bases: BaseImage[]; users: ReadonlyMap<string, string[]> }> {
  const { bases } = await ports.bases.list();
  const { users } = await baseUsers(ports).catch(() => ({ users: new Map<string, string[]>() }));
  return { bases: bases.filter((base) => base.name === name), users };
}
