import { z } from 'zod';
import type { Clock } from '../../../ports/machine.js';
import { UncertainError } from '../core/api-error.js';
import { isDeleting } from '../core/members.js';
import { isMadeAs, type NewServer, newServerBody } from '../core/new-server.js';
import { oldestFirst, type Server, serverSchema } from '../core/servers.js';
import type { CloudClient } from '../http/client.js';
import { listAll } from '../http/lists.js';
import { interrupted } from '../http/retrier.js';
import { type CallOptions, ServerActions, secretUserData } from './server-actions.js';

export interface CreatedServer {
  id: string;
  /** found: the reply was lost, but the server had been created. */
  how: 'created' | 'found';
}

/** How often creating is requested again when no server appeared. */
const mostCreations = 3;
/** A request whose reply was lost may still be on its way: how long to look for its server, in ms between the looks. */
const looksAfterMs = [0, 1_000, 2_000, 4_000];

export class Servers extends ServerActions {
  constructor(
    client: CloudClient,
    private readonly clock: Clock,
  ) {
    super(client);
  }

  /**
   * Servers of the project that have all these tags, with their details. Without tags: all servers.
   * @param options.pageSize default: that of the cloud, 1,000
   * @param options.imageId only servers that were created or rebuilt from this image
   */
  async list(
    tags: readonly string[],
    { signal, pageSize, imageId }: CallOptions & { pageSize?: number; imageId?: string } = {},
  ): Promise<Server[]> {
    const query = new URLSearchParams(tags.length === 0 ? {} : { tags: tags.join(',') });
    if (imageId !== undefined) query.set('image', imageId);
    if (pageSize !== undefined) query.set('limit', String(pageSize));
    const servers = await listAll<Server>(this.client, {
      ...{ service: 'compute', path: ['servers', 'detail'], query, route: '/servers/detail', action: 'list the servers', signal },
      ...{ key: 'servers', item: serverSchema, idOf: ({ id }) => id },
    });
    return imageId === undefined ? servers : servers.filter((server) => server.imageId === imageId);
  }

  /**
   * Creates one server, also if replies are lost: the request is repeated only after no server with the unique tag was found. Accepted
   * only: wait for the task.
   * @throws ApiError if the cloud refuses; UncertainError if it is not known whether there is a server; BAD_SPEC, INTERRUPTED
   */
  async create(server: NewServer, { signal }: CallOptions = {}): Promise<CreatedServer> {
    for (let number = 1; ; number++) {
      try {
        const id = await this.#post(server, signal);
        return number === 1 ? { id, how: 'created' } : await this.#keepOne(await this.#madeAs(server, signal), id, signal);
      } catch (error) {
        if (!(error instanceof UncertainError)) throw error;
        const found = await this.#lookFor(server, signal);
        if (found !== undefined) return found;
        if (number === mostCreations) throw error;
      }
    }
  }

  async #post(server: NewServer, signal: AbortSignal | undefined): Promise<string> {
    const reply = await this.client.call({
      ...{
        service: 'compute',
        method: 'POST',
        path: ['servers'],
        route: '/servers',
        body: newServerBody(server),
        repetition: 'unsafe',
        signal,
      },
      ...{ action: `create server ${server.name}`, schema: z.object({ server: z.object({ id: z.string().min(1) }) }) },
      secrets: secretUserData(server.userData),
    });
    return reply.server.id;
  }

  async #lookFor(server: NewServer, signal: AbortSignal | undefined): Promise<CreatedServer | undefined> {
    for (const pauseMs of looksAfterMs) {
      await this.clock.sleep(pauseMs, signal);
      if (signal?.aborted === true) throw interrupted();
      const found = await this.#madeAs(server, signal);
      if (found.length > 0) return this.#keepOne(found, undefined, signal);
    }
    return undefined;
  }

  /** Other users of the project may give the tag to servers of theirs. One that is being deleted is of an earlier command. */
  async #madeAs(server: NewServer, signal: AbortSignal | undefined): Promise<Server[]> {
    const found = await this.list([server.uniqueTag], { signal });
    return found.filter((one) => isMadeAs(server, one) && !isDeleting(one));
  }

  /** An earlier request may have been done after all. All these servers are of these requests: the oldest one stays. */
  async #keepOne(servers: readonly Server[], created: string | undefined, signal: AbortSignal | undefined): Promise<CreatedServer> {
    const [first, ...others] = oldestFirst(servers);
    for (const other of others) await this.delete(other, { signal });
    const id = first?.id ?? created ?? '';
    return { id, how: id === created ? 'created' : 'found' };
  }
}
