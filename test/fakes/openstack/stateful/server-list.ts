import type { Reply } from '../fake-cloud.js';
import { isSince, novaRefusal, pageOf, queryAfter, type Request } from './request.js';
import { briefView, detailView, statusOf } from './server-views.js';
import type { CloudServer } from './world.js';

/** Query parameters that the fake knows; Nova refuses unknown ones from 2.75 on. */
const known = new Set(['tags', 'tags-any', 'not-tags', 'name', 'status', 'reservation_id', 'limit', 'marker', 'image', 'all_tenants']);

/** GET /servers and /servers/detail: the newest first. */
export function listServers(request: Request, isDetailed: boolean): Reply {
  const { world, query } = request;
  const unknown = [...query.keys()].find((key) => !known.has(key));
  if (unknown !== undefined) {
    return novaRefusal(400, `Invalid input for query parameters ${unknown}. Additional properties are not allowed`);
  }
  const matching = [...world.servers.values()].filter((server) => matches(request, server)).sort((a, b) => b.sequence - a.sequence);
  const most = world.options.pageSize ?? 1_000;
  const found = pageOf(matching, query, { usual: most, most });
  if (found === 'no such marker') return novaRefusal(400, `marker [${query.get('marker')}] not found`);
  const { page, marker } = found;
  const route = isDetailed ? '/servers/detail' : '/servers';
  const href = marker === undefined ? '' : `http://compute.cloud.test/v2.1${route}?${queryAfter(query, marker)}`;
  return {
    status: 200,
    reply: {
      servers: page.map((server) => (isDetailed ? detailView(request, server, true) : briefView(server))),
      ...(marker === undefined ? {} : { servers_links: [{ rel: 'next', href }] }),
    },
  };
}

function matches(request: Request, server: CloudServer): boolean {
  const { query } = request;
  const tags = (name: string): string[] => query.get(name)?.split(',') ?? [];
  const has = (tag: string): boolean => server.tags.includes(tag);
  // Before 2.26 there were no tags, and unknown parameters are ignored.
  if (isSince(request, 26)) {
    if (!tags('tags').every(has)) return false;
    if (query.has('tags-any') && !tags('tags-any').some(has)) return false;
    if (query.has('not-tags') && tags('not-tags').every(has)) return false;
  }
  const name = query.get('name');
  if (name !== null && !new RegExp(name).test(server.name)) return false;
  const equal: Array<[string, string]> = [
    ['status', statusOf(server)],
    ['reservation_id', server.reservation],
    ['image', server.imageId],
  ];
  return equal.every(([key, value]) => query.get(key) === null || query.get(key)?.toUpperCase() === value.toUpperCase());
}
