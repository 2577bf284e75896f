import type { Received, Reply } from '../fake-cloud.js';
import type { World } from './world.js';

/** A request, taken apart. */
export interface Request {
  world: World;
  method: string;
  /** Decoded segments below the version of the API. */
  path: string[];
  query: URLSearchParams;
  body: any;
  /** Bytes that are not JSON. */
  raw: Buffer | undefined;
  /** Of the Compute API, such as 2.90. */
  microversion: string;
}

/** @param version first segment of the path, which is not part of {@link Request.path} @returns undefined: not below it */
export function requestOf(world: World, { method, path, request, raw, headers }: Received, version: string): Request | undefined {
  const [route = '', query = ''] = path.split('?');
  const [, first, ...segments] = route.split('/');
  if (first !== version || segments.length === 0) return undefined;
  const asked = [headers['x-openstack-nova-api-version']].flat()[0] ?? /compute (\S+)/.exec(String(headers['openstack-api-version']))?.[1];
  return {
    ...{ world, method, query: new URLSearchParams(query), body: request, raw },
    path: segments.filter((segment) => segment !== '').map(decodeURIComponent),
    microversion: asked ?? '2.1',
  };
}

/** Whether the request is for this microversion or a later one. */
export function isSince({ microversion }: Pick<Request, 'microversion'>, minor: number): boolean {
  return Number(microversion.split('.')[1]) >= minor;
}

const novaNames: Record<number, string> = { 400: 'badRequest', 403: 'forbidden', 404: 'itemNotFound', 409: 'conflictingRequest' };

/** An error reply of Nova. */
export function novaRefusal(status: number, message: string): Reply {
  return { status, reply: { [novaNames[status] ?? 'computeFault']: { code: status, message } } };
}

const titles: Record<number, string> = { 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found', 409: 'Conflict' };

/** An error reply of Glance, with its line breaks. */
export function glanceRefusal(status: number, message: string): Reply {
  const title = titles[status] ?? '';
  return { status, reply: { message: `${message}<br /><br />\n\n\n`, code: `${status} ${title}`, title } };
}

/**
 * One page of a list that is in its order.
 * @param usual entries of a page if the request has no limit
 * @returns marker: the id after which the next page begins
 */
export function pageOf<T extends { id: string }>(
  all: readonly T[],
  query: URLSearchParams,
  { usual, most }: { usual: number; most: number },
): { page: T[]; marker: string | undefined } | 'no such marker' {
  const after = query.get('marker');
  const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
  if (after !== null && from === 0) return 'no such marker';
  const limit = Math.min(Number(query.get('limit') ?? usual), most);
  const page = all.slice(from, from + limit);
  // Also if nothing follows: the services do not look further.
  return { page, marker: limit > 0 && page.length === limit ? page.at(-1)?.id : undefined };
}

/** The query of the next page. */
export function queryAfter(query: URLSearchParams, marker: string): string {
  const next = new URLSearchParams(query);
  next.set('marker', marker);
  return next.toString();
}
