import { z } from 'zod';
import { UncertainError } from '../core/api-error.js';
import type { Server } from '../core/servers.js';
import type { CloudClient } from '../http/client.js';
import type { Images } from './images.js';
import type { CallOptions } from './server-actions.js';

export interface NewServerImage {
  name: string;
  properties: Readonly<Record<string, string>>;
  /** One of the properties, which no other image has: the image is found by it if the reply is lost. */
  uniqueProperty: string;
}

/**
 * Saves the disk of a server as an image. Accepted only: wait until the image is active.
 * @returns id of the image
 * @throws ApiError 409 while another task runs; UncertainError if it is not known whether there is an image
 */
export async function createServerImage(
  client: CloudClient,
  images: Images,
  { id, name }: Pick<Server, 'id' | 'name'>,
  image: NewServerImage,
  { signal }: CallOptions = {},
): Promise<string> {
  const property = { name: image.uniqueProperty, value: image.properties[image.uniqueProperty] ?? '' };
  try {
    const { image_id } = await client.call({
      ...{ service: 'compute', method: 'POST', path: ['servers', id, 'action'], route: '/servers/{id}/action createImage' },
      ...{ body: { createImage: { name: image.name, metadata: image.properties } }, repetition: 'unsafe', signal },
      ...{ action: `create an image of server ${name}`, schema: z.object({ image_id: z.string().min(1) }) },
    });
    return image_id;
  } catch (error) {
    if (!(error instanceof UncertainError)) throw error;
    // Nova creates the image before it replies. Without one, the request was not done: the caller decides whether to repeat it.
    const [found] = await images.list({ property }, { signal });
    if (found === undefined) throw error;
    return found.id;
  }
}
