import type { Reply } from '../fake-cloud.js';
import { isSince, novaRefusal, type Request } from './request.js';
import { actOn } from './server-actions.js';
import { createServers } from './server-create.js';
import { listServers } from './server-list.js';
import { detailView } from './server-views.js';
import type { Tasks } from './tasks.js';
import type { CloudServer } from './world.js';

/** /servers of the Compute API. @returns undefined: not known */
export function serversApi(request: Request, tasks: Tasks): Reply | undefined {
  const { world, method, path } = request;
  const [, id, part] = path;
  if (method === 'GET') world.pass(world.options.msPerRead ?? 0);
  if (id === undefined)
    return method === 'GET' ? listServers(request, false) : method === 'POST' ? createServers(request, tasks) : undefined;
  if (id === 'detail') return method === 'GET' ? listServers(request, true) : undefined;
  const server = world.servers.get(id);
  if (server === undefined) return novaRefusal(404, `Instance ${id} could not be found.`);
  if (part === undefined) return oneServer(request, server, tasks);
  if (part === 'action' && method === 'POST') {
    if ('os-getConsoleOutput' in (request.body ?? {})) world.pass(world.options.msPerRead ?? 0);
    return actOn(request, server, tasks);
  }
  if (part === 'metadata') return metadata(request, server);
  if (part === 'tags' && isSince(request, 26)) return tags(request, server);
  return undefined;
}

function oneServer(request: Request, server: CloudServer, tasks: Tasks): Reply | undefined {
  switch (request.method) {
    case 'GET':
      return { status: 200, reply: { server: detailView(request, server, false) } };
    case 'PUT':
      server.name = request.body.server.name ?? server.name;
      return { status: 200, reply: { server: detailView(request, server, false) } };
    case 'DELETE':
      if (server.isLocked) return novaRefusal(409, `Instance ${server.id} is locked`);
      tasks.delete(server);
      return { status: 204 };
    default:
      return undefined;
  }
}

/** Servers that are being built, or failed, cannot be changed. */
function notNow(action: string, { id, vmState }: CloudServer): Reply | undefined {
  if (vmState === 'active' || vmState === 'paused' || vmState === 'stopped') return undefined;
  return novaRefusal(409, `Cannot '${action}' instance ${id} while it is in vm_state ${vmState}`);
}

/** POST adds entries, PUT replaces all of them. */
function metadata({ method, path, body }: Request, server: CloudServer): Reply | undefined {
  const [, , , key] = path;
  const refusal = method === 'GET' ? undefined : notNow(method === 'DELETE' ? 'delete metadata' : 'update metadata', server);
  if (refusal !== undefined) return refusal;
  if (key !== undefined) {
    if (method !== 'DELETE') return undefined;
    if (!(key in server.metadata)) return novaRefusal(404, 'Metadata item was not found');
    delete server.metadata[key];
    return { status: 204 };
  }
  if (method === 'POST') server.metadata = { ...server.metadata, ...body.metadata };
  else if (method === 'PUT') server.metadata = body.metadata;
  else if (method !== 'GET') return undefined;
  return { status: 200, reply: { metadata: server.metadata } };
}

function tags({ method, path, body }: Request, server: CloudServer): Reply | undefined {
  const [, , , tag] = path;
  const refusal = method === 'GET' ? undefined : notNow('update tags', server);
  if (refusal !== undefined) return refusal;
  if (tag === undefined) {
    if (method === 'PUT') server.tags = body.tags;
    return method === 'GET' || method === 'PUT' ? { status: 200, reply: { tags: server.tags } } : undefined;
  }
  const has = server.tags.includes(tag);
  if (method === 'PUT') {
    if (!has) server.tags.push(tag);
    return { status: has ? 204 : 201 };
  }
  if (!has) return novaRefusal(404, `Server ${server.id} has no tag '${tag}'`);
  if (method === 'DELETE') server.tags = server.tags.filter((one) => one !== tag);
  return { status: 204 };
}
