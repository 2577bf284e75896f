import { hasChanged, parseContentRange, parseLength, type Validators } from './ranges.js';

/** What a reply to a request for a file, or for the rest of it, means. */

export interface ReplyHead {
  status: number;
  header(name: string): string | undefined;
}

/** What is there of the file. */
export interface Kept {
  bytes: number;
  /** Version and complete size, as the server said at the beginning. */
  record?: (Validators & { bytes?: number | undefined }) | undefined;
}

export type ReplyVerdict =
  /** Everything is there. */
  | { kind: 'complete' }
  /** The rest follows. `total` is the size of the complete file, if known. */
  | { kind: 'continue'; total: number | undefined }
  /** The whole file follows. */
  | { kind: 'begin'; total: number | undefined }
  /** What is there is worthless: ask for the whole file. */
  | { kind: 'again'; why: string }
  | { kind: 'failed' }
  | { kind: 'unexpected' };

/** @param kept if it has bytes, the request was for the rest */
export function judgeReply(reply: ReplyHead, { bytes, record = {} }: Kept): ReplyVerdict {
  const range = parseContentRange(reply.header('content-range'));
  const isSame = !hasChanged(record, validatorsOf(reply));
  if (reply.status === 416 && bytes > 0) {
    if (isSame && (range?.total ?? record.bytes) === bytes) return { kind: 'complete' };
    return { kind: 'again', why: 'the file on the server has changed' };
  }
  if (reply.status < 200 || reply.status >= 300) return { kind: 'failed' };
  if (reply.status === 200) return { kind: 'begin', total: parseLength(reply.header('content-length')) };
  if (reply.status !== 206 || bytes === 0) return { kind: 'unexpected' };
  const isSameSize = record.bytes === undefined || range?.total === undefined || range.total === record.bytes;
  if (!isSame || range?.first !== bytes || !isSameSize)
    return { kind: 'again', why: 'the server sent another part than the requested one' };
  return { kind: 'continue', total: range.total ?? record.bytes };
}

/** Values that are too long to be kept are ignored. */
export function validatorsOf(reply: ReplyHead): Validators {
  const short = (name: string): string | undefined => {
    const value = reply.header(name);
    return value === undefined || value.length > 1024 ? undefined : value;
  };
  return { etag: short('etag'), lastModified: short('last-modified') };
}
