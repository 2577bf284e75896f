import { isDeepStrictEqual } from 'node:util';
import { CowherdError } from '../../../core/errors.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { shownUrl } from '../../../core/image/download/url.js';
import type { HygieneWarning } from '../../../core/image/hygiene.js';
import { chooseDefaults } from '../../../core/image/image-defaults.js';
import type { Pulled } from '../../../core/image/origin.js';
import { unpackedBytes } from '../../../core/limits.js';
import type { ImportProgress } from '../../../core/progress.js';
import type { ImportResult } from '../../../ports/bases.js';
import type { Download } from '../../../ports/downloads.js';
import type { Ports } from '../../../ports/index.js';
import { chainDifferences } from '../../fleet/access.js';
import { type BaseListing, describeBase, hygieneWarningsOf } from '../bases.js';
import { baseUsers } from '../users.js';
import { type Expected, expectedOf } from './expected.js';
import type { PullOptions } from './options.js';
import { findSource, type PullSource } from './source.js';

export interface PullResult extends BaseListing {
  how: ImportResult['how'];
  /** Bytes that were downloaded in this run. */
  downloadedBytes: number;
  generalisation: HygieneWarning[];
  notes: string[];
}

/** Downloads an image, verifies it and imports it as a base image. If it is in the store already, nothing is downloaded. @throws DOWNLOAD_FAILED, BASE_REFUSED, BASE_NOT_FOUND, BAD_USAGE, PREFLIGHT_FAILED */
export async function pullBase(ports: Ports, options: PullOptions): Promise<PullResult> {
  const source = await findSource(ports, options);
  const expected = await expectedOf(ports, source, options);
  const onNote = (text: string): void => options.onProgress?.({ kind: 'note', text });
  const { result, downloadedBytes } = await ports.downloads.locked(expected.url, () => obtain(ports, source, expected, options), {
    signal: options.signal,
    onNote,
  });
  const { base, how, warning } = result;
  // If it is in the store, what was found out when it was downloaded still applies.
  const isTold = expected.vouched.verifiedBy !== 'nothing' || base.pulled?.verifiedBy === 'nothing';
  // The import succeeded: it does not fail because the users of the image cannot be listed.
  const { users } = await baseUsers(ports).catch(() => ({ users: new Map<string, string[]>() }));
  return {
    ...(await describeBase(ports, base, users)),
    how,
    downloadedBytes,
    generalisation: await hygieneWarningsOf(ports, base),
    notes: [...(isTold ? [expected.told] : []), ...(warning === undefined ? [] : [warning])],
  };
}

interface Obtained {
  result: ImportResult;
  downloadedBytes: number;
}

/** Under the lock of the URL: a run that waited for another one finds its image. */
async function obtain(ports: Ports, source: PullSource, expected: Expected, options: PullOptions): Promise<Obtained> {
  const { signal, onProgress } = options;
  const known = await knownImage(ports, source, expected, options);
  if (known !== undefined) {
    // A run that was killed after its import has left it.
    await ports.downloads.discard(expected.url);
    return { result: await reuse(ports, { source, expected, known }, options), downloadedBytes: 0 };
  }
  const download = await ports.downloads.fetch({
    url: expected.url,
    expected,
    maxBytes: options.maxBytes ?? unpackedBytes.default,
    onProgress: (progress) => onProgress?.({ kind: 'bytes', what: `downloading ${source.name}`, ...progress }),
    onNote: (text) => onProgress?.({ kind: 'note', text }),
    signal,
  });
  const pulled = pulledFrom(source, expected, download, ports, options);
  try {
    const result = await importDownload(ports, source, { download, pulled, options });
    await ports.downloads.discard(expected.url);
    return { result, downloadedBytes: download.bytes };
  } catch (error) {
    throw await afterFailure(ports, expected.url, error);
  }
}

function pulledFrom(
  source: PullSource,
  { vouched, url }: Expected,
  { sha256, sha512, bytes, etag, lastModified }: Download,
  { clock }: Pick<Ports, 'clock'>,
  { disk }: Pick<PullOptions, 'disk'>,
): Omit<Pulled, 'unpacked'> {
  return {
    url: shownUrl(url),
    ...placeOf(source),
    pulledAt: clock.now().toISOString(),
    sha256,
    ...(sha512 === undefined ? {} : { sha512 }),
    bytes,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
    ...vouched,
    ...(disk === undefined ? {} : { disk }),
  };
}

/** Where `base update` looks for a newer image. */
function placeOf({ catalog, catalogFile, arch }: PullSource): Pick<Pulled, 'catalog' | 'catalogFile' | 'arch'> {
  return {
    ...(catalog === undefined ? {} : { catalog }),
    ...(catalogFile === undefined ? {} : { catalogFile }),
    ...(arch === undefined ? {} : { arch }),
  };
}

async function importDownload(
  ports: Ports,
  { name, defaults }: PullSource,
  { download, pulled, options }: { download: Download; pulled: Omit<Pulled, 'unpacked'>; options: PullOptions },
): Promise<ImportResult> {
  const { signal, onProgress, disk, format, maxBytes } = options;
  return ports.bases.locked(
    () =>
      ports.bases.import({
        path: download.path,
        name,
        format,
        trustChain: false,
        disk,
        maxBytes,
        defaults,
        download: { pulled },
        signal,
        onProgress: (progress) => onProgress?.({ kind: 'bytes', what: `importing ${name}`, ...progress }),
      }),
    { signal, onProgress },
  );
}

/** An image that was refused would be refused again, and a full disk needs the space. Otherwise, the next run continues with the download. */
async function afterFailure({ downloads }: Pick<Ports, 'downloads'>, url: string, error: unknown): Promise<unknown> {
  if (!(error instanceof CowherdError)) return error;
  const { code, message, details = [], hint } = error;
  if (code === 'BASE_REFUSED' || code === 'PREFLIGHT_FAILED') {
    await downloads.discard(url).catch(() => undefined);
    return error;
  }
  const kept = 'the download is kept: the same command continues with it, and "cowherd base prune --yes" removes it';
  return new CowherdError(code, message, { details: [...details, kept], ...(hint === undefined ? {} : { hint }), cause: error });
}

/** The same image under the requested name, with what vouches for it now and what the catalog says about it. */
async function reuse(
  ports: Ports,
  { source, expected: { vouched }, known }: { source: PullSource; expected: Expected; known: BaseImage },
  { signal, onProgress }: PullOptions,
): Promise<ImportResult> {
  const { name } = source;
  const { path, format, pulled: was } = known;
  const isVouched = vouched.verifiedBy === 'nothing' || vouched.verifiedBy === was?.verifiedBy;
  const defaults = source.defaults === undefined ? known.defaults : chooseDefaults(known.contents ?? {}, source.defaults);
  const pulled = was === undefined ? undefined : withPlace(isVouched ? was : withVoucher(was, vouched), source);
  // Under the lock, which removes what a killed import left.
  if (known.name === name && isDeepStrictEqual(pulled, was) && isDeepStrictEqual(defaults, known.defaults))
    return ports.bases.locked(async () => ({ base: known, how: 'already there' }), { signal, onProgress });
  const onBytes = (progress: ImportProgress): void => onProgress?.({ kind: 'bytes', what: `copying ${formatBaseRef(known)}`, ...progress });
  const request = { path, format, name, pulled, defaults, trustChain: false, signal, onProgress: onBytes };
  return ports.bases.locked(() => ports.bases.import(request), { signal, onProgress });
}

function withVoucher({ list: _list, key: _key, ...was }: Pulled, vouched: Expected['vouched']): Pulled {
  return { ...was, ...vouched };
}

/** A URL does not change what the catalog has said before. */
function withPlace(was: Pulled, source: PullSource): Pulled {
  if (source.catalog === undefined) return was;
  const { catalogFile: _catalogFile, ...kept } = was;
  return { ...kept, ...placeOf(source) };
}

const hashes = ['sha256', 'sha512'] as const;

/** A base image that is that disk of what was pulled from there, if the server still has the same file; the one with the requested name, if there is one. */
async function knownImage(
  ports: Ports,
  { name }: PullSource,
  expected: Expected,
  { disk, signal }: Pick<PullOptions, 'disk' | 'signal'>,
): Promise<BaseImage | undefined> {
  const url = shownUrl(expected.url);
  const pulled = (await ports.bases.list()).bases.filter(({ pulled: was }) => was?.url === url && was.disk === disk);
  pulled.sort((one, other) => Number(other.name === name) - Number(one.name === name));
  if (pulled.length === 0) return undefined;
  const remote =
    expected.sha256 === undefined && expected.sha512 === undefined ? await ports.downloads.probe(expected.url, signal) : undefined;
  const isSame = ({ pulled: was }: BaseImage): boolean => {
    if (was === undefined) return false;
    if (remote === undefined) return hashes.every((hash) => expected[hash] === undefined || was[hash] === expected[hash]);
    const [now, then] = remote.etag === undefined ? [remote.lastModified, was.lastModified] : [remote.etag, was.etag];
    return now !== undefined && now === then && (remote.bytes === undefined || remote.bytes === was.bytes);
  };
  for (const base of pulled.filter(isSame)) if ((await chainDifferences(ports, base)).length === 0) return base;
  return undefined;
}
