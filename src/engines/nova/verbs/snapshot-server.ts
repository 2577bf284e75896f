import { randomUUID } from 'node:crypto';
import type { CallOptions } from '../api/server-actions.js';
import type { NovaContext } from '../context.js';
import { hasStatus, UncertainError } from '../core/api-error.js';
import { imageMark } from '../core/image-marks.js';
import type { Image } from '../core/images.js';
import type { Server } from '../core/servers.js';
import { interrupted } from '../http/retrier.js';

/** The disk of a stopped server as an image that is not sealed yet. */

type Context = Pick<NovaContext, 'cloud' | 'ports'>;

/** Requests whose reply was lost and that left no image. */
const mostRequests = 3;
const lookAgainMs = 2_000;
const idleMs = 120_000;

export interface SnapshotOptions extends CallOptions {
  name: string;
  /** Marks of a promoted image, with which its members are found. */
  properties: Readonly<Record<string, string>>;
  /** ms until the cloud has stored the image. */
  storeMs: number;
}

/**
 * Saves the disk as an image with the state "creating", which is no base image until it is sealed. If that fails or is interrupted, the
 * image is removed.
 * @returns the image, active
 * @throws ApiError 409 while another task runs; TOOL_FAILED, TOOL_TIMEOUT, INTERRUPTED
 */
export async function snapshotServer(context: Context, server: Server, options: SnapshotOptions): Promise<Image> {
  const { signal, storeMs } = options;
  const request = randomUUID();
  try {
    const id = await requestImage(context, server, request, options);
    const image = await context.cloud.images.waitUntilActive(id, storeMs, { signal });
    await removeOthers(context, request, id);
    await untilIdle(context, server, signal);
    return image;
  } catch (error) {
    // Also after an interruption, which must not stop these requests.
    await removeOthers(context, request, undefined).catch(() => undefined);
    throw error;
  }
}

/** @returns id of the image */
async function requestImage(
  { cloud, ports }: Context,
  server: Server,
  request: string,
  { name, properties, signal }: SnapshotOptions,
): Promise<string> {
  // All that could be inherited from the server's image is set here.
  const marks = { ...properties, [imageMark.state]: 'creating', [imageMark.request]: request, [imageMark.hash]: '' };
  for (let number = 1; ; number++) {
    try {
      return await cloud.createServerImage(server, { name, properties: marks, uniqueProperty: imageMark.request }, { signal });
    } catch (error) {
      // After a lost reply, 409 may mean that the first request is being done.
      const isOpen = error instanceof UncertainError || (number > 1 && hasStatus(error, 409));
      if (!isOpen || number === mostRequests) throw error;
      await ports.clock.sleep(lookAgainMs * number, signal);
      if (signal?.aborted === true) throw interrupted();
      const [found] = await imagesOf(cloud, request, signal);
      if (found !== undefined) return found.id;
    }
  }
}

/** Removes the images of a request, except one. */
async function removeOthers({ cloud }: Context, request: string, kept: string | undefined): Promise<void> {
  for (const { id } of await imagesOf(cloud, request, undefined)) {
    if (id !== kept) await cloud.images.delete(id).catch(() => undefined);
  }
}

async function imagesOf(cloud: NovaContext['cloud'], request: string, signal: AbortSignal | undefined): Promise<Image[]> {
  const listed = await cloud.images.list({ property: { name: imageMark.request, value: request } }, { signal });
  // Images are removed by this list: a service that ignores the filter must not decide which.
  return listed.filter(({ properties, isProtected }) => properties[imageMark.request] === request && !isProtected);
}

/** The cloud ends its task shortly after the image is complete; the next command would be refused until then. */
async function untilIdle({ cloud, ports }: Context, { id }: Server, signal: AbortSignal | undefined): Promise<void> {
  const deadline = ports.clock.monotonic() + idleMs;
  while (ports.clock.monotonic() < deadline && signal?.aborted !== true) {
    const server = await cloud.servers.get(id, { signal });
    if (server === undefined || server.taskState === null) return;
    await ports.clock.sleep(1_000, signal);
  }
}
