import { z } from 'zod';
import { type GuestText, guestText } from '../../../core/guest/text.js';
import { hasStatus } from '../core/api-error.js';
import { encoded } from '../core/new-server.js';
import { Secret } from '../core/secret.js';
import { type Server, serverSchema } from '../core/servers.js';
import { isUnderWay, type Task } from '../core/settling.js';
import type { CloudClient } from '../http/client.js';

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

/** user-data often has keys and passwords. */
export function secretUserData(userData: string | undefined): Secret[] {
  return userData === undefined ? [] : [new Secret(encoded(userData)), new Secret(userData)];
}

const nothing = z.unknown().transform(() => undefined);

/** What is done with one existing server. Names are for messages. */
export class ServerActions {
  constructor(protected readonly client: CloudClient) {}

  /** undefined: it does not exist. */
  async get(id: string, { signal }: CallOptions = {}): Promise<Server | undefined> {
    try {
      const { server } = await this.client.call({
        ...{ service: 'compute', method: 'GET', path: ['servers', id], route: '/servers/{id}', repetition: 'safe', signal },
        ...{ action: `read server ${id}`, schema: z.object({ server: serverSchema }) },
      });
      return server;
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /**
   * Replaces its disk by a fresh one of an image. It keeps id, name, ports, tags and host. Accepted only: wait for the task.
   * @param imageId of the image it has, for a reset; never a name, which may mean another image today
   * @param options.userData replaces the user-data of the server
   * @throws ApiError 409 while another task runs; 400 if the image was deleted
   */
  rebuild(
    server: Pick<Server, 'id' | 'name'>,
    task: Task & { kind: 'rebuild' },
    options: CallOptions & { userData?: string } = {},
  ): Promise<void> {
    const { userData } = options;
    const body = { imageRef: task.imageId, ...(userData === undefined ? {} : { user_data: encoded(userData) }) };
    return this.#act(server, 'rebuild', body, task, { ...options, secrets: secretUserData(userData) });
  }

  /** @throws ApiError 409 while another task runs; none if it is running */
  start(server: Pick<Server, 'id' | 'name'>, options: CallOptions = {}): Promise<void> {
    return this.#act(server, 'os-start', null, { kind: 'start' }, options);
  }

  /** Shuts it down; the cloud forces it off if that takes too long. @throws ApiError 409 while another task runs; none if it is stopped */
  stop(server: Pick<Server, 'id' | 'name'>, options: CallOptions = {}): Promise<void> {
    return this.#act(server, 'os-stop', null, { kind: 'stop' }, options);
  }

  /** @returns gone: it did not exist. @throws ApiError 409 while another task runs */
  async delete({ id, name }: Pick<Server, 'id' | 'name'>, { signal }: CallOptions = {}): Promise<'accepted' | 'gone'> {
    try {
      await this.client.call({
        ...{ service: 'compute', method: 'DELETE', path: ['servers', id], route: '/servers/{id}', repetition: 'safe', signal },
        ...{ action: `delete server ${name}`, schema: nothing },
      });
      return 'accepted';
    } catch (error) {
      if (hasStatus(error, 404)) return 'gone';
      throw error;
    }
  }

  /**
   * The end of the console log, as the guest wrote it.
   * @param lines at most
   * @returns undefined if it has none yet
   */
  async console({ id, name }: Pick<Server, 'id' | 'name'>, lines: number, { signal }: CallOptions = {}): Promise<GuestText | undefined> {
    try {
      const { output } = await this.client.call({
        ...{ service: 'compute', method: 'POST', path: ['servers', id, 'action'], route: '/servers/{id}/action os-getConsoleOutput' },
        ...{ body: { 'os-getConsoleOutput': { length: lines } }, repetition: 'safe', signal },
        ...{ action: `read the console log of server ${name}`, schema: z.object({ output: z.string().nullish() }) },
      });
      return output === undefined || output === null ? undefined : guestText(output);
    } catch (error) {
      // Not yet on a host, or just being rebuilt.
      if (hasStatus(error, 404, 409)) return undefined;
      throw error;
    }
  }

  async #act(
    server: Pick<Server, 'id' | 'name'>,
    verb: string,
    body: unknown,
    task: Task,
    options: CallOptions & { secrets?: Secret[] },
    isLast = false,
  ): Promise<void> {
    const { id, name } = server;
    const { signal, secrets = [] } = options;
    try {
      await this.client.call({
        ...{ service: 'compute', method: 'POST', path: ['servers', id, 'action'], route: `/servers/{id}/action ${verb}` },
        // Doing it twice leads to the same state.
        ...{ body: { [verb]: body }, repetition: 'safe', signal, secrets },
        ...{ action: `${task.kind} server ${name}`, schema: nothing },
      });
    } catch (error) {
      if (!hasStatus(error, 409)) throw error;
      const found = (await this.get(id, { signal })) ?? 'absent';
      // Perhaps an earlier attempt was accepted, and its reply was lost.
      if (isUnderWay(task, found)) return;
      // What was in the way, perhaps that attempt, has ended meanwhile.
      if (isLast || found === 'absent' || found.taskState !== null) throw error;
      await this.#act(server, verb, body, task, options, true);
    }
  }
}
