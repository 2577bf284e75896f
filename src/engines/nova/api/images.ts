import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import type { Clock } from '../../../ports/machine.js';
import { hasStatus } from '../core/api-error.js';
import { type Image, imageSchema, judgeImage } from '../core/images.js';
import type { CloudClient } from '../http/client.js';
import { listAll } from '../http/lists.js';
import { interrupted } from '../http/retrier.js';
import type { CallOptions } from './server-actions.js';

export interface ImageFilter {
  name?: string;
  /** It has all of them. */
  tags?: readonly string[];
  /** It has this property with this value. */
  property?: { name: string; value: string };
}

export interface NewImage {
  /** A UUID chosen by the caller, e.g. to find the image after a crash. Default: a random one. */
  id?: string;
  name: string;
  format: 'qcow2' | 'raw';
  tags: readonly string[];
  properties?: Readonly<Record<string, string>>;
  minDiskGiB?: number;
}

const nothing = z.unknown().transform(() => undefined);

export class Images {
  constructor(
    private readonly client: CloudClient,
    private readonly clock: Clock,
  ) {}

  /** Images that the project can use. */
  list({ name, tags = [], property }: ImageFilter = {}, { signal }: CallOptions = {}): Promise<Image[]> {
    const query = new URLSearchParams(name === undefined ? {} : { name });
    for (const tag of tags) query.append('tag', tag);
    if (property !== undefined) query.set(property.name, property.value);
    return listAll(this.client, {
      ...{ service: 'image', path: ['images'], query, route: '/images', action: 'list the images', signal },
      ...{ key: 'images', item: imageSchema, idOf: ({ id }) => id },
    });
  }

  /** undefined: it does not exist, or the project may not use it. */
  async get(id: string, { signal }: CallOptions = {}): Promise<Image | undefined> {
    try {
      return await this.client.call({
        ...{ service: 'image', method: 'GET', path: ['images', id], route: '/images/{id}', repetition: 'safe', signal },
        ...{ action: `read image ${id}`, schema: imageSchema },
      });
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** Creates an image without a file. A lost reply does no harm, since its id is chosen here. @returns its id */
  async create({ id = randomUUID(), name, format, tags, properties, minDiskGiB }: NewImage, { signal }: CallOptions = {}): Promise<string> {
    const extra = minDiskGiB === undefined ? properties : { ...properties, min_disk: minDiskGiB };
    const body = { ...extra, id, name, disk_format: format, container_format: 'bare', visibility: 'private', tags };
    try {
      await this.client.call({
        ...{ service: 'image', method: 'POST', path: ['images'], route: '/images', body, repetition: 'safe', signal },
        ...{ action: `create image ${name}`, schema: nothing },
      });
    } catch (error) {
      // Of an attempt whose reply was lost. The id of a deleted image cannot be used again, either.
      if (!hasStatus(error, 409) || (await this.get(id, { signal })) === undefined) throw error;
    }
    return id;
  }

  /** Lets nobody delete it, or lets them again. */
  async protect(id: string, isProtected: boolean, { signal }: CallOptions = {}): Promise<void> {
    await this.client.call({
      ...{ service: 'image', method: 'PATCH', path: ['images', id], route: '/images/{id}', repetition: 'safe', signal },
      ...{ body: [{ op: 'replace', path: '/protected', value: isProtected }], contentType: 'application/openstack-images-v2.1-json-patch' },
      ...{ action: `${isProtected ? 'protect' : 'unprotect'} image ${id}`, schema: nothing },
    });
  }

  /**
   * Sets tags, properties and protection in one step, so that the image has all of them or none.
   * @throws ApiError 404 if it does not exist
   */
  async finish(
    id: string,
    { tags, properties }: { tags: readonly string[]; properties: Readonly<Record<string, string>> },
    { signal }: CallOptions = {},
  ): Promise<Image> {
    // "add" also replaces, so that repeating it after a lost reply does no harm.
    const body = [
      ...Object.entries(properties).map(([name, value]) => ({ op: 'add', path: `/${pointerOf(name)}`, value })),
      { op: 'replace', path: '/tags', value: tags },
      { op: 'replace', path: '/protected', value: true },
    ];
    return this.client.call({
      ...{ service: 'image', method: 'PATCH', path: ['images', id], route: '/images/{id}', body, repetition: 'safe', signal },
      ...{ contentType: 'application/openstack-images-v2.1-json-patch', action: `seal image ${id}`, schema: imageSchema },
    });
  }

  /** @returns gone: it did not exist. @throws ApiError 403 if it is protected, 409 if it is in use */
  async delete(id: string, { signal }: CallOptions = {}): Promise<'deleted' | 'gone'> {
    try {
      await this.client.call({
        ...{ service: 'image', method: 'DELETE', path: ['images', id], route: '/images/{id}', repetition: 'safe', signal },
        ...{ action: `delete image ${id}`, schema: nothing },
      });
      return 'deleted';
    } catch (error) {
      if (hasStatus(error, 404)) return 'gone';
      throw error;
    }
  }

  /** Waits until it can be used. @throws TOOL_FAILED if the cloud gives it up; TOOL_TIMEOUT; INTERRUPTED */
  async waitUntilActive(
    id: string,
    timeoutMs: number,
    { signal, pauseMs = 1_000 }: CallOptions & { pauseMs?: number } = {},
  ): Promise<Image> {
    const deadline = this.clock.monotonic() + timeoutMs;
    for (;;) {
      const image = await this.get(id, { signal });
      const verdict = judgeImage(image ?? 'absent');
      if (verdict.state === 'settled' && image !== undefined) return image;
      if (verdict.state === 'failed') {
        throw new CowherdError('TOOL_FAILED', `Image ${id} is not usable: ${verdict.reason}`, {
          hint: 'Run the command again; if it fails again, ask the operator of the cloud about this image.',
        });
      }
      if (this.clock.monotonic() > deadline) {
        throw new CowherdError('TOOL_TIMEOUT', `Image ${id} is still ${image?.status}`, {
          hint: 'Run the command again with a longer --timeout.',
        });
      }
      await this.clock.sleep(pauseMs, signal);
      if (signal?.aborted === true) throw interrupted();
    }
  }
}

/** A name in a JSON pointer (RFC 6901). */
function pointerOf(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
