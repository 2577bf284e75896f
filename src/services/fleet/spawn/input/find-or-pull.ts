import { CowherdError } from '../../../../core/errors.js';
import type { BaseImage } from '../../../../core/image/base.js';
import type { MergedCatalog } from '../../../../core/image/catalogs.js';
import { isUrl } from '../../../../core/image/content.js';
import { shellWord } from '../../../../core/quoting.js';
import type { Ports } from '../../../../ports/index.js';
import { loadCatalog } from '../../../base/catalog.js';
import { pullBase } from '../../../base/pull/pull.js';
import type { SpawnOptions } from './options.js';

type Options = Pick<SpawnOptions, 'pull' | 'catalog' | 'dryRun' | 'signal' | 'onProgress'>;

/**
 * The base image of that name in the store; with `pull`, it is downloaded if it is not there.
 * @param asked a reference to a base image, or a URL
 * @throws BASE_NOT_FOUND, with the command that downloads it if the catalog has it
 */
export async function findOrPull(ports: Ports, asked: string, options: Options): Promise<{ base: BaseImage; notes: string[] }> {
  if (isUrl(asked)) return pullFromCatalog(ports, asked, options, notHere(asked));
  try {
    return { base: await ports.bases.find(asked), notes: [] };
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code !== 'BASE_NOT_FOUND') throw error;
    return pullFromCatalog(ports, asked, options, error);
  }
}

/**
 * @param asked a name or an alias of the catalog, or a URL
 * @param missing why there is no such image @throws it, with a hint if the catalog has the image and it is not to be pulled
 */
export async function pullFromCatalog(
  ports: Ports,
  asked: string,
  options: Options,
  missing: CowherdError,
): Promise<{ base: BaseImage; notes: string[] }> {
  const name = isUrl(asked) ? asked : await nameInCatalog(ports, asked, options);
  if (name === undefined) throw missing;
  // An alias: the image has the name that it stands for.
  const named = name === asked ? undefined : await ports.bases.find(name).catch(absent);
  if (named !== undefined) return { base: named, notes: [`${asked} is ${name} in the catalog`] };
  const own = options.catalog === undefined ? '' : ` --catalog ${shellWord(options.catalog)}`;
  const command = `cowherd base pull ${shellWord(asked)}${own}`;
  if (options.pull !== true || options.dryRun === true) {
    const hint =
      options.pull === true
        ? `A dry run downloads nothing. Pull it first: ${command}`
        : `The catalog has it. Pull it first: ${command}${options.pull === false ? '. Or add --pull to this command.' : ''}`;
    throw new CowherdError('BASE_NOT_FOUND', missing.message, { details: missing.details, hint });
  }
  const { catalog, signal, onProgress } = options;
  const pulled = await pullBase(ports, { image: asked, catalog, signal, onProgress });
  const told = pulled.generalisation.map(({ what, hint }) => `${pulled.ref}: ${what}. ${hint}`);
  const how =
    pulled.how === 'already there' ? `base ${pulled.ref} was already in the store` : `base ${pulled.ref} pulled from ${pulled.pulled?.url}`;
  return { base: await ports.bases.find(pulled.ref), notes: [how, ...pulled.notes, ...told] };
}

function notHere(url: string): CowherdError {
  return new CowherdError('BASE_NOT_FOUND', `${url} is not in the store`);
}

function absent(error: unknown): undefined {
  if (error instanceof CowherdError && error.code === 'BASE_NOT_FOUND') return;
  throw error;
}

/**
 * Without --pull, a catalog that cannot be read must not hide that the image is missing.
 * @param word a name or an alias @returns the name; undefined if the catalog has neither
 */
async function nameInCatalog(ports: Ports, word: string, { catalog, pull, signal }: Options): Promise<string | undefined> {
  const empty: Pick<MergedCatalog, 'images' | 'aliases'> = { images: [], aliases: new Map() };
  const loaded = loadCatalog(ports, { catalog, signal });
  const { images, aliases } = await (pull === true ? loaded : loaded.catch(() => empty));
  return aliases.get(word) ?? images.find((image) => image.name === word)?.name;
}
