import { readFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import prettyBytes from 'pretty-bytes';
import { CowherdError } from '../../../core/errors.js';
import type { Compression, Packing } from '../../../core/image/formats/detect.js';
import type { ImportRequest } from '../../../ports/bases.js';
import { openFilter } from '../../process.js';
import { longMs } from '../../qemu/qemu-img.js';
import { labelOf, nameOf, type Subject, withOption } from './subject.js';

/** The content of a packed file as a stream. Nothing is read ahead of its consumer, and leaving a loop over it ends the tool. */

export type Bytes = AsyncGenerator<Buffer, void, undefined>;

/** Memory is limited where a file chooses how much its tool needs; gzip and bzip2 never need much. */
const tools: Readonly<Record<Compression, readonly [command: string, ...args: string[]]>> = {
  gzip: ['gzip', '-dc'],
  xz: ['xz', '-dc', '--memlimit-decompress=512MiB'],
  zstd: ['zstd', '-dc', '--memory=512MB'],
  bzip2: ['bzip2', '-dc'],
};

/** How much is read between two reports of progress. */
const reportBytes = 4 * 1024 ** 2;

type Options = Pick<ImportRequest, 'onProgress' | 'signal'> & { maxBytes: number };

/** What the tool of that compression makes of the file, or an archive itself; at most `maxBytes`. @throws BASE_REFUSED */
export async function* contentOf(subject: Subject, handle: FileHandle, kind: Packing, options: Options): Bytes {
  const { size } = await handle.stat();
  let [count, reported] = [0, 0];
  const report = (doneBytes: number): void => options.onProgress?.({ what: `unpacking ${nameOf(subject)}`, doneBytes, totalBytes: size });
  for await (const chunk of kind === 'tar' ? plain(handle) : uncompressed(subject, handle, kind, options)) {
    options.signal?.throwIfAborted();
    count += chunk.length;
    if (count > options.maxBytes) throw tooLarge(subject, options.maxBytes);
    yield chunk;
    if (count - reported < reportBytes) continue;
    reported = count;
    report(kind === 'tar' ? count : (positionOf(handle) ?? 0));
  }
  report(size);
}

async function* plain(handle: FileHandle): Bytes {
  yield* handle.createReadStream({ start: 0, autoClose: false }) as AsyncIterable<Buffer> as Bytes;
}

async function* uncompressed(subject: Subject, handle: FileHandle, kind: Compression, { signal }: Options): Bytes {
  const [command, ...args] = tools[kind];
  const tool = openFilter(command, args, { input: handle.fd, timeoutMs: longMs, signal });
  try {
    try {
      for await (const chunk of tool.output) yield chunk as Buffer;
    } catch (error) {
      // The end of the tool explains a broken stream better.
      await tool.ended;
      throw error;
    }
    // bzip2 only warns, and exits with 0.
    if (/trailing garbage/i.test(await tool.ended)) throw damaged(subject, kind, 'other data follows the compressed data');
  } catch (error) {
    if (!(error instanceof CowherdError) || error.code !== 'TOOL_FAILED' || /was killed by/.test(error.message)) throw error;
    throw damaged(subject, kind, error.message, error);
  } finally {
    tool.close();
  }
}

function damaged(subject: Subject, kind: Compression, why: string, cause?: unknown): CowherdError {
  return new CowherdError('BASE_REFUSED', `${labelOf(subject)} cannot be unpacked with ${kind}: ${why}`, {
    hint: /memory/i.test(why)
      ? `It needs more than 512 MiB of memory. Compress it again with the default options of ${kind}.`
      : 'It is truncated or damaged. Copy it again from its source.',
    cause,
  });
}

/** How far the tool has read: it shares the position of the descriptor. */
function positionOf({ fd }: FileHandle): number | undefined {
  try {
    const position = /^pos:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return position === undefined ? undefined : Number(position);
  } catch {
    return undefined;
  }
}

export function tooLarge(subject: Subject, maxBytes: number): CowherdError {
  const option = `--max-size ${Math.ceil((2 * maxBytes) / 1024 ** 3)}GiB`;
  return new CowherdError(
    'BASE_REFUSED',
    `${labelOf(subject)} contains more than ${prettyBytes(maxBytes, { binary: true })}, the limit for what is unpacked`,
    { hint: `If you trust it, raise the limit: ${withOption(subject, option)}` },
  );
}

/** The beginning of a stream, and the whole stream. */
export async function begin(stream: Bytes, bytes: number): Promise<{ head: Buffer; all: Bytes }> {
  const chunks: Buffer[] = [];
  let count = 0;
  let isAtEnd = false;
  while (count < bytes && !isAtEnd) {
    const { value, done } = await stream.next();
    if (done === true) isAtEnd = true;
    else {
      chunks.push(value);
      count += value.length;
    }
  }
  const head = Buffer.concat(chunks);
  async function* all(): Bytes {
    try {
      if (head.length > 0) yield head;
      if (!isAtEnd) yield* stream;
    } finally {
      await stream.return();
    }
  }
  return { head, all: all() };
}
