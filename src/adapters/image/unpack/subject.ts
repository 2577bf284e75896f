import { basename } from 'node:path';
import { CowherdError } from '../../../core/errors.js';
import { shownName } from '../../../core/image/formats/archive.js';
import { type Container, detect, detectBytes, footerBytes } from '../../../core/image/formats/detect.js';
import { shellWord } from '../../../core/quoting.js';
import type { ImportRequest } from '../../../ports/bases.js';
import { unreadable } from '../../host/denied.js';
import { openImage, readAt } from '../image-files.js';

/** A file on its way into the store. Messages name what the user named, and not the scratch file that it is in. */
export interface Subject {
  /** Where it is now. */
  path: string;
  /** The file or the URL that the user named. */
  origin: string;
  /** Its name inside of that; undefined for the file itself. */
  inner?: string | undefined;
  isDownload: boolean;
}

export function subjectOf(path: string, { download }: Pick<ImportRequest, 'download'>): Subject {
  return { path, origin: download?.pulled.url ?? path, isDownload: download !== undefined };
}

/** How messages name it. */
export function labelOf({ origin, inner }: Subject): string {
  return inner === undefined ? origin : `${shownName(inner)} in ${origin}`;
}

/** The name without directories that says what it should be. */
export function nameOf({ origin, inner, isDownload }: Subject): string {
  return basename(inner ?? (isDownload ? origin.replace(/[?#].*$/, '') : origin));
}

/** The command that was run, with another option. */
export function withOption({ origin, isDownload }: Subject, option: string): string {
  return isDownload ? `Repeat the command with ${option}` : `cowherd base add ${shellWord(origin)} ${option}`;
}

/** What the content of a file is. @param format that the user says: the last sector of a raw disk means nothing */
export async function kindOf(path: string, format: ImportRequest['format']): Promise<Container | undefined> {
  const handle = await openImage(path).catch((cause: unknown) => {
    throw unreadable(path, cause);
  });
  try {
    const { size } = await handle.stat();
    const footer = format === undefined && size >= footerBytes ? await readAt(handle, size - footerBytes, footerBytes) : Buffer.alloc(0);
    return detect(await readAt(handle, 0, detectBytes), footer);
  } finally {
    await handle.close();
  }
}

/** Rewrites errors about a file that the user did not name. Hints with its path would not work. */
export async function named<T>(subject: Subject, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CowherdError) || subject.path === subject.origin) throw error;
    const say = (text: string): string => text.replaceAll(subject.path, labelOf(subject));
    const isForPath = error.hint?.includes(subject.path) === true || error.hint?.includes('--trust-chain') === true;
    throw new CowherdError(error.code, say(error.message), {
      details: error.details.map(say),
      ...(error.hint === undefined ? {} : { hint: isForPath ? unpackHint(subject) : error.hint }),
      cause: error,
    });
  }
}

function unpackHint({ origin, isDownload }: Subject): string {
  return isDownload
    ? `Download it to examine it: curl -fLO ${shellWord(origin)}`
    : `Unpack it, correct the disk that is in it, and import that. Or copy ${origin} again from its source.`;
}
