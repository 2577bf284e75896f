import { CowherdError } from '../../core/errors.js';
import type { BaseImage } from '../../core/image/base.js';
import { formatBaseRef } from '../../core/image/base.js';
import type { Architecture, Catalog, CatalogFile } from '../../core/image/catalog.js';
import { checkCatalog, parseCatalog } from '../../core/image/catalog-file.js';
import {
  architecturesOf,
  type CatalogEntry,
  findImage,
  lookUpImage,
  type MergedCatalog,
  mergeCatalogs,
} from '../../core/image/catalogs.js';
import { shownUrl } from '../../core/image/download/url.js';
import type { ImageDefaults } from '../../core/image/origin.js';
import type { Ports } from '../../ports/index.js';

const maxBytes = 1024 * 1024;

export interface CatalogOptions {
  /** The user's own catalog: a path, or an http or https URL. */
  catalog?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface CatalogListOptions extends CatalogOptions {
  /** Names or aliases; default: all images. */
  names?: readonly string[] | undefined;
  /** Only images of this architecture; default: both. */
  architecture?: Architecture | undefined;
}

/** An image of the catalog, as `base catalog` shows it. */
export interface CatalogRow {
  name: string;
  title: string;
  aliases: string[];
  /** `built-in`, a path or a URL. */
  source: string;
  architectures: Architecture[];
  defaults: ImageDefaults;
  files: Partial<Record<Architecture, CatalogFile>>;
  /** The newest base image of that name, or pulled by it, and since when it is there. */
  inStore: { ref: string; since: string } | null;
}

/**
 * The built-in catalog and the user's own one, which takes precedence.
 * @throws BAD_SPEC, FILE_NOT_FOUND, BAD_USAGE for a file that is too large, DOWNLOAD_FAILED
 */
export async function loadCatalog(
  ports: Pick<Ports, 'builtInCatalog' | 'readFile' | 'downloads'>,
  { catalog, signal }: CatalogOptions = {},
): Promise<MergedCatalog> {
  const builtIn = { catalog: checkCatalog(JSON.parse(await ports.builtInCatalog()), 'the built-in catalog'), source: 'built-in' };
  return mergeCatalogs(catalog === undefined ? [builtIn] : [builtIn, await ownCatalog(ports, catalog, signal)]);
}

async function ownCatalog(
  ports: Pick<Ports, 'readFile' | 'downloads'>,
  place: string,
  signal: AbortSignal | undefined,
): Promise<{ catalog: Catalog; source: string }> {
  if (!/^https?:\/\//i.test(place)) return { catalog: parseCatalog(await ports.readFile(place), place), source: place };
  const source = shownUrl(place);
  const { bytes } = await ports.downloads.text({ url: place, maxBytes, signal });
  return { catalog: parseCatalog(decoded(bytes, source), source), source };
}

function decoded(bytes: Buffer, source: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CowherdError('BAD_SPEC', `${source} is not a text file in UTF-8`, { hint: 'Is it the right file?', cause });
  }
}

/** @throws the errors of {@link loadCatalog}; BASE_NOT_FOUND for a name that is not in it or has no image of that architecture */
export async function listCatalog(
  ports: Pick<Ports, 'builtInCatalog' | 'readFile' | 'downloads' | 'bases'>,
  { names = [], architecture, ...options }: CatalogListOptions = {},
): Promise<{ images: CatalogRow[] }> {
  const catalog = await loadCatalog(ports, options);
  const named = [...new Set(names.map((word) => lookUpImage(catalog, word)))];
  // An image without a file for the architecture is only an error if it was named.
  if (architecture !== undefined) for (const { name } of named) findImage(catalog, name, architecture);
  const chosen = names.length > 0 ? named : catalog.images;
  const { bases } = await ports.bases.list();
  return {
    images: chosen
      .filter(({ files }) => architecture === undefined || files[architecture] !== undefined)
      .map((image) => rowOf(image, architecture, bases)),
  };
}

function rowOf(image: CatalogEntry, only: Architecture | undefined, bases: readonly BaseImage[]): CatalogRow {
  const { name, title, aliases, source, defaults, files } = image;
  const shown = architecturesOf(image).filter((one) => only === undefined || one === only);
  const stored = bases
    .filter((base) => base.name === name || base.pulled?.catalog === name)
    .map((base) => ({ ref: formatBaseRef(base), since: base.pulled?.pulledAt ?? base.importedAt }))
    .sort((one, other) => other.since.localeCompare(one.since));
  return {
    name,
    title,
    aliases,
    source,
    architectures: shown,
    defaults,
    files: Object.fromEntries(shown.map((one) => [one, files[one]])),
    inStore: stored[0] ?? null,
  };
}
