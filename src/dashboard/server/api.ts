import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { namePattern } from '../../core/names.js';
import { securityHeaders } from './access/headers.js';
import { planAction } from './actions/plan.js';
import { parseRequest } from './actions/request.js';
import type { AppParts, Call, Env } from './context.js';
import type { Live } from './live/live.js';
import { memberDetail } from './member/detail.js';
import { memoryView } from './member/memory.js';
import { Screenshots } from './member/screenshot.js';
import { Refused, readOnlyRefusal } from './refusal.js';

const mostBodyBytes = 64 * 1024;
/** Pages that may listen at the same time, and plans and readings that may run. */
const most = { streams: 16, busy: 16 };

export function apiRoutes(parts: AppParts): Hono<Env> {
  const { live, isReadOnly } = parts;
  const routes = new Hono<Env>();
  routes.use('*', bodyLimit({ maxSize: mostBodyBytes, onError: tooLarge }));
  routes.use('*', async (c, next) => {
    // In read-only mode, nothing but reading is left.
    if (isReadOnly && c.req.method !== 'GET') throw readOnlyRefusal();
    return next();
  });
  routes.get('/stream', (c) => stream(live, c));
  addReadings(routes, parts);
  addActions(routes, parts);
  return routes;
}

function addReadings(routes: Hono<Env>, { host, withFlags }: AppParts): void {
  const screenshots = new Screenshots(host);
  const busy = new Busy();
  routes.get('/fleets/:fleet/members/:index', async (c) => {
    const { fleet, index } = memberIn(c);
    return c.json(await busy.run(() => memberDetail(host, fleet, index, withFlags)));
  });
  routes.get('/fleets/:fleet/members/:index/screenshot', async (c) => {
    const { fleet, index } = memberIn(c);
    const { type, bytes } = await busy.run(() => screenshots.take(fleet, index));
    return c.body(new Uint8Array(bytes), 200, { 'Content-Type': type });
  });
  routes.get('/fleets/:fleet/memory', async (c) => {
    const fleet = fleetIn(c);
    return c.json(await busy.run(() => memoryView(host, fleet)));
  });
}

function addActions(routes: Hono<Env>, { host, jobs, withFlags, withFlagsIn, signal }: AppParts): void {
  const busy = new Busy();
  routes.post('/plans', async (c) => {
    const request = parseRequest(await document(c));
    const plan = await busy.run(() => planAction(host, request, signal));
    return c.json({ ...(withFlagsIn(plan) as typeof plan), command: withFlags(plan.command) });
  });
  routes.post('/jobs', async (c) => c.json(jobs.start(parseRequest(await document(c))), 202));
  routes.post('/jobs/:id/cancel', (c) => {
    if (!jobs.cancel(c.req.param('id'))) throw new Refused(404, 'NOT_FOUND', 'There is no such action');
    return c.body(null, 204);
  });
}

/** Limits calls that may take long. */
class Busy {
  #count = 0;

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#count >= most.busy) throw new Refused(503, 'BUSY', 'Too many requests are running', 'Try again in a moment.');
    this.#count++;
    try {
      return await work();
    } finally {
      this.#count--;
    }
  }
}

async function stream(live: Live, c: Call): Promise<Response> {
  if (live.clients >= most.streams) {
    throw new Refused(503, 'TOO_MANY_PAGES', `${most.streams} pages are open`, 'Close one of them, then load this one again.');
  }
  const { incoming, outgoing } = c.env;
  const headers = { ...securityHeaders(undefined, undefined), 'Content-Type': 'text/event-stream; charset=utf-8' };
  outgoing.writeHead(200, headers);
  outgoing.write('retry: 2000\n\n');
  const lastId = incoming.headers['last-event-id'];
  await live.connect(outgoing, typeof lastId === 'string' ? lastId : undefined);
  return RESPONSE_ALREADY_SENT;
}

async function document(c: Call): Promise<unknown> {
  const isJson = /^application\/json\s*(;|$)/i.test(c.req.header('content-type') ?? '');
  try {
    if (isJson) return await c.req.json();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new Refused(400, 'BAD_USAGE', 'The request is not JSON');
}

function tooLarge(): never {
  throw new Refused(413, 'TOO_LARGE', 'The request is larger than 64 KiB');
}

function fleetIn(c: Call): string {
  const fleet = c.req.param('fleet') ?? '';
  if (!namePattern.test(fleet)) throw new Refused(404, 'FLEET_NOT_FOUND', 'There is no such fleet');
  return fleet;
}

function memberIn(c: Call): { fleet: string; index: number } {
  const index = c.req.param('index') ?? '';
  if (!/^\d{1,6}$/.test(index)) throw new Refused(404, 'MEMBER_NOT_FOUND', 'There is no such member');
  return { fleet: fleetIn(c), index: Number(index) };
}
