import { createHash, type Hash } from 'node:crypto';
import { type Readable, Transform } from 'node:stream';
import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import { UncertainError } from '../core/api-error.js';
import type { Image } from '../core/images.js';
import type { CloudClient } from '../http/client.js';
import type { Images, NewImage } from './images.js';
import type { CallOptions } from './server-actions.js';

/** A file to upload. */
export interface ImageSource {
  /** For messages. */
  path: string;
  bytes: number;
  /** Reads it from the beginning. */
  open(): Readable;
}

export interface UploadOptions extends CallOptions {
  /** @param bytes that were sent so far */
  onProgress?: (bytes: number) => void;
  /** ms until the cloud has stored the file. Default: 10 minutes. */
  storeMs?: number;
}

const mostUploads = 3;

/**
 * Creates an image from a file, and compares its hash with what the cloud has stored. An image that cannot be completed is deleted.
 * @returns the image, active
 * @throws IMAGE_CHANGED if the hashes differ; NOT_SUPPORTED if the cloud does not hash with sha512; and like CloudClient.call
 */
export async function uploadImage(
  client: CloudClient,
  images: Images,
  image: NewImage,
  source: ImageSource,
  options: UploadOptions = {},
): Promise<Image> {
  const id = await images.create(image, options);
  try {
    const sent = await upload(client, images, id, source, options);
    const stored = await images.waitUntilActive(id, options.storeMs ?? 600_000, options);
    compare(image.name, stored, sent);
    return stored;
  } catch (error) {
    // Also after an interruption, which must not stop this request.
    await images.delete(id).catch(() => undefined);
    throw error;
  }
}

/** @returns sha512 of what was sent */
async function upload(client: CloudClient, images: Images, id: string, source: ImageSource, options: UploadOptions): Promise<string> {
  for (let number = 1; ; number++) {
    const hashing = new HashedFile(source, options.onProgress);
    try {
      await client.call({
        ...{ service: 'image', method: 'PUT', path: ['images', id, 'file'], route: '/images/{id}/file', repetition: 'unsafe' },
        ...{ upload: { bytes: source.bytes, open: () => hashing.open() }, action: `upload ${source.path}`, schema: z.unknown() },
        signal: options.signal,
      });
      return hashing.digest();
    } catch (error) {
      if (hashing.readError !== undefined) throw cannotRead(source.path, hashing.readError);
      if (!(error instanceof UncertainError)) throw error;
      // The cloud may have the whole file. Otherwise the image is empty again, or given up.
      const state = await images.get(id, options);
      const isStored = (state?.status === 'active' || state?.status === 'saving') && hashing.isComplete;
      if (isStored) return hashing.digest();
      if (number === mostUploads || state?.status !== 'queued') throw error;
    }
  }
}

/** Hashes a file while it is read. */
class HashedFile {
  #hash: Hash = createHash('sha512');
  #bytes = 0;
  readError: unknown;

  constructor(
    private readonly source: ImageSource,
    private readonly onProgress: ((bytes: number) => void) | undefined,
  ) {}

  get isComplete(): boolean {
    return this.#bytes === this.source.bytes;
  }

  open(): Readable {
    this.#hash = createHash('sha512');
    this.#bytes = 0;
    const file = this.source.open();
    const changed = (): Error => {
      const error = new Error('its size changed');
      this.readError = error;
      return error;
    };
    const count = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#hash.update(chunk);
        this.#bytes += chunk.length;
        this.onProgress?.(this.#bytes);
        // A file that grew would be sent in part, with a matching hash.
        if (this.#bytes > this.source.bytes) done(changed());
        else done(null, chunk);
      },
      flush: (done) => done(this.isComplete ? null : changed()),
    });
    file.on('error', (error) => {
      this.readError = error;
      count.destroy(error);
    });
    count.on('close', () => file.destroy());
    return file.pipe(count);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

function cannotRead(path: string, cause: unknown): CowherdError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CowherdError('FILE_NOT_FOUND', `Could not read ${path} to its end: ${reason}`, {
    hint: 'Check that no other program changes the file, and run the command again.',
    cause,
  });
}

function compare(name: string, { id, hash }: Image, sent: string): void {
  if (hash?.algorithm === 'sha512' && hash.value === sent) return;
  if (hash?.algorithm !== 'sha512') {
    throw new CowherdError(
      'NOT_SUPPORTED',
      `The Image service hashes with ${hash?.algorithm ?? 'no algorithm'}, but sha512 is needed to compare image ${name}`,
      {
        hint: 'Upload the image with "openstack image create", and use it by its id.',
      },
    );
  }
  throw new CowherdError('IMAGE_CHANGED', `Image ${name} (${id}) differs from what was uploaded: the hashes do not match`, {
    hint: 'The image was removed again. Check the network and the storage of the cloud, and run the command again.',
  });
}
