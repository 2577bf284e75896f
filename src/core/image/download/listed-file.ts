import { type DigestList, digestFor, newestMatch } from './digest-list.js';
import { fileNameOf } from './url.js';

/**
 * The file of a list that a URL means: with a `*` in its name, the newest match. A list beside the image, such as IMAGE.sha256, has one
 * digest, and that is the image's, even if it names a dated build that the URL leads to.
 * @returns undefined if the list does not contain it
 * @throws BASE_REFUSED if it has two digests
 */
export function listedFile(list: DigestList, url: string, listUrl: string): { fileName: string; digest: string } | undefined {
  const fileName = fileNameOf(url);
  if (fileName.includes('*')) return newestMatch(list, fileName);
  const digest = digestFor(list, fileName) ?? (listUrl.startsWith(`${url}.`) ? onlyDigest(list) : undefined);
  return digest === undefined ? undefined : { fileName, digest };
}

function onlyDigest({ files }: DigestList): string | undefined {
  const [digests, ...others] = [...files.values()];
  return others.length === 0 && digests?.length === 1 ? digests[0] : undefined;
}
