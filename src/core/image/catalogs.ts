import { CowherdError } from '../errors.js';
import { closestTo } from '../suggestion.js';
import { type Architecture, architectures, type Catalog, type CatalogFile, type CatalogImage } from './catalog.js';
import type { ImageDefaults } from './origin.js';

/** Several catalogs as one, and images in it. */

export interface CatalogEntry extends CatalogImage {
  title: string;
  /** The catalog that it is from: `built-in`, a path or a URL. */
  source: string;
}

export interface MergedCatalog {
  /** In the order of the catalogs; an image that replaces an earlier one is at its place. */
  images: CatalogEntry[];
  /** Aliases and the names that they stand for. None of them is a name. */
  aliases: ReadonlyMap<string, string>;
}

export interface FoundImage {
  image: CatalogEntry;
  architecture: Architecture;
  file: CatalogFile;
  /** Of the image, with the firmware of the file. */
  defaults: ImageDefaults;
}

/**
 * Images of later catalogs replace those with the same name. The aliases of a replaced image lead to the new one, because that is
 * usually the same image from another server. A later alias replaces an earlier one, but never hides a name.
 */
export function mergeCatalogs(catalogs: ReadonlyArray<{ catalog: Catalog; source: string }>): MergedCatalog {
  const images = new Map<string, CatalogEntry>();
  const aliases = new Map<string, string>();
  for (const { catalog, source } of catalogs) {
    for (const image of catalog.images) {
      images.set(image.name, { ...image, title: image.title ?? image.name, source });
      for (const alias of image.aliases) aliases.set(alias, image.name);
    }
  }
  for (const name of images.keys()) aliases.delete(name);
  const own = new Map<string, string[]>();
  for (const [alias, name] of aliases) own.set(name, [...(own.get(name) ?? []), alias]);
  return { images: [...images.values()].map((image) => ({ ...image, aliases: own.get(image.name) ?? [] })), aliases };
}

/** @param word a name or an alias. @throws BASE_NOT_FOUND */
export function lookUpImage({ images, aliases }: MergedCatalog, word: string): CatalogEntry {
  const name = aliases.get(word) ?? word;
  const found = images.find((image) => image.name === name);
  if (found !== undefined) return found;
  const meant = closestTo(word, [...images.map((image) => image.name), ...aliases.keys()]);
  const question = meant === undefined ? '' : `Did you mean ${meant}? `;
  throw new CowherdError('BASE_NOT_FOUND', `The catalog has no image ${JSON.stringify(word.slice(0, 60))}`, {
    hint: `${question}To list all images: cowherd base catalog`,
  });
}

/** @param word a name or an alias. @throws BASE_NOT_FOUND, also if there is no image for the architecture */
export function findImage(catalog: MergedCatalog, word: string, architecture: Architecture): FoundImage {
  const image = lookUpImage(catalog, word);
  const file = image.files[architecture];
  if (file === undefined) {
    const others = architecturesOf(image);
    throw new CowherdError('BASE_NOT_FOUND', `${image.name} has no image for ${architecture}, only for ${others.join(' and ')}`, {
      hint: `Use an image of that architecture: --arch ${others[0]}`,
    });
  }
  const firmware = file.firmware ?? image.defaults.firmware;
  return { image, architecture, file, defaults: { ...image.defaults, ...(firmware === undefined ? {} : { firmware }) } };
}

export function architecturesOf({ files }: CatalogImage): Architecture[] {
  return architectures.filter((one) => files[one] !== undefined);
}
