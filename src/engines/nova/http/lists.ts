import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import { hasStatus } from '../core/api-error.js';
import { mostPages, nextQuery } from '../core/pages.js';
import type { Call, CloudClient } from './client.js';

export interface ListCall<T> extends Omit<Call<unknown>, 'method' | 'body' | 'upload' | 'repetition' | 'schema'> {
  /** The list in the reply, such as servers. */
  key: string;
  item: z.ZodType<T>;
  /** Entries that appear on two pages, because the list changed between the requests, are returned once. */
  idOf(item: T): string;
}

/** Lists that began again because the entry at a page's end was removed. */
const mostRestarts = 3;

/** All pages of a list. @throws like CloudClient.call; TOOL_FAILED if it has no end */
export async function listAll<T>(client: CloudClient, call: ListCall<T>): Promise<T[]> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await listOnce(client, call);
    } catch (error) {
      if (!(error instanceof LostMarker)) throw error;
      if (restarts === mostRestarts) throw error.reply;
    }
  }
}

async function listOnce<T>(client: CloudClient, { key, item, idOf, ...call }: ListCall<T>): Promise<T[]> {
  const found = new Map<string, T>();
  const schema = z.looseObject({ [key]: z.array(item) });
  const markers = new Set<string>();
  const query = new URLSearchParams(call.query);
  for (let page = 1; page <= mostPages; page++) {
    const body = await client.call({ ...call, query, method: 'GET', repetition: 'safe', schema }).catch((error: unknown) => {
      throw page > 1 && hasStatus(error, 400, 404) ? new LostMarker(error) : error;
    });
    for (const entry of body[key] as T[]) found.set(idOf(entry), entry);
    const marker = nextQuery(body, key)?.get('marker');
    if (marker === undefined || marker === null) return [...found.values()];
    if (markers.has(marker)) break;
    markers.add(marker);
    query.set('marker', marker);
  }
  throw new CowherdError('TOOL_FAILED', `Could not ${call.action}: the list of the cloud has no end`, {
    hint: 'Run the command again; if it fails again, report it to the operator of the cloud.',
  });
}

/** The entry after which a page begins was removed. */
class LostMarker extends Error {
  constructor(readonly reply: CowherdError) {
    super('marker not found');
  }
}
