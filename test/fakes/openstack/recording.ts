import { readFileSync } from 'node:fs';

/** Recorded requests and replies of a real cloud, in their order. */
export interface Recording {
  about: string;
  exchanges: Exchange[];
}

export type ServiceName = 'identity' | 'compute' | 'image' | 'network';

export interface Exchange {
  service: ServiceName;
  method: string;
  /** With the query. */
  path: string;
  /** Body of the request, if it is JSON. */
  request?: unknown;
  status: number;
  headers: Record<string, string>;
  /** Body of the reply: JSON, or text. */
  reply?: unknown;
}

/** In recordings, the services are at these URLs. */
export function placeholderOf(service: ServiceName): string {
  return `http://${service}.cloud.test`;
}

export const serviceNames: readonly ServiceName[] = ['identity', 'compute', 'image', 'network'];

export function readRecording(name: string): Recording {
  return JSON.parse(readFileSync(new URL(`../../fixtures/openstack/${name}.json`, import.meta.url), 'utf8'));
}

/** Whether a request changes nothing, so that it does not matter how often it is sent. */
export function isRead({ method, request }: Pick<Exchange, 'method' | 'request'>): boolean {
  if (method === 'GET') return true;
  const body = typeof request === 'object' && request !== null ? request : {};
  return 'auth' in body || 'os-getConsoleOutput' in body;
}

/** Equal for equal requests, whatever the order of query parameters and fields. */
export function keyOf({ service, method, path, request }: Pick<Exchange, 'service' | 'method' | 'path' | 'request'>): string {
  const [route = '', query = ''] = path.split('?');
  const parameters = [...new URLSearchParams(query)].map(([name, value]) => `${name}=${value}`).sort();
  // Secrets are not recorded, so all logins are equal.
  const isLogin = service === 'identity' && method === 'POST';
  return [service, method, route, parameters.join('&'), isLogin ? '' : canonical(request)].join(' ');
}

function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_key, inner) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ) ?? ''
  );
}
