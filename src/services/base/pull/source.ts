import { resolve } from 'node:path';
import { CowherdError } from '../../../core/errors.js';
import type { Architecture, CatalogFile } from '../../../core/image/catalog.js';
import { findImage } from '../../../core/image/catalogs.js';
import { isUrl } from '../../../core/image/content.js';
import type { ImageDefaults } from '../../../core/image/origin.js';
import { hashOfList, nameOfUrl, urlOf } from '../../../core/image/pull-source.js';
import { assertName } from '../../../core/names.js';
import type { Ports } from '../../../ports/index.js';
import { loadCatalog } from '../catalog.js';
import type { PullOptions } from './options.js';

/** The list of digests in which an image must be. */
export type DigestListSource = NonNullable<CatalogFile['list']>;

/** What is to be downloaded. */
export interface PullSource {
  /** With a `*` in the file name, the list says which file it is. */
  url: string;
  /** Of the base image. */
  name: string;
  catalog?: string;
  /** The user's own catalog, if it is from there: a full path or a URL. */
  catalogFile?: string;
  arch?: Architecture;
  list?: DigestListSource;
  defaults?: ImageDefaults;
}

/** @throws BASE_NOT_FOUND if the catalog has no such image; BAD_USAGE */
export async function findSource(
  ports: Pick<Ports, 'readFile' | 'downloads' | 'builtInCatalog' | 'machine'>,
  options: PullOptions,
): Promise<PullSource> {
  const { image, as } = options;
  const url = urlOf(image);
  if (url !== undefined) {
    if (options.arch !== undefined) {
      throw new CowherdError('BAD_USAGE', 'A URL names one file: --arch does not apply', {
        hint: 'Omit it, or give a name of the catalog.',
      });
    }
    const list = listOf(options);
    return { url, name: nameOfUrl(url, as), ...(list === undefined ? {} : { list }) };
  }
  if (options.checksums !== undefined) {
    throw new CowherdError('BAD_USAGE', '--checksums is for URLs: the catalog says where the list of an image is', { hint: 'Omit it.' });
  }
  const catalog = await loadCatalog(ports, { catalog: options.catalog, signal: options.signal });
  const { image: entry, file, architecture, defaults } = findImage(catalog, image, options.arch ?? architectureOfHost(ports));
  return {
    url: file.url,
    name: assertName('base', as ?? entry.name),
    catalog: entry.name,
    ...(entry.source === 'built-in' ? {} : { catalogFile: isUrl(entry.source) ? entry.source : resolve(entry.source) }),
    arch: architecture,
    ...(file.list === undefined ? {} : { list: file.list }),
    defaults,
  };
}

function architectureOfHost({ machine }: Pick<Ports, 'machine'>): Architecture {
  const architecture = machine.architecture();
  if (architecture !== undefined) return architecture;
  throw new CowherdError('BAD_USAGE', 'The catalog has no images for the architecture of this host', {
    hint: 'Name one that QEMU emulates: --arch x86_64 or --arch aarch64',
  });
}

/** @throws BAD_USAGE */
function listOf({ checksums }: PullOptions): DigestListSource | undefined {
  if (checksums === undefined) return undefined;
  const url = urlOf(checksums);
  if (url === undefined)
    throw new CowherdError('BAD_USAGE', `${checksums} is not a URL`, { hint: 'Write --checksums https://SERVER/SHA256SUMS.' });
  return { url, hash: hashOfList(url), keyrings: [] };
}
