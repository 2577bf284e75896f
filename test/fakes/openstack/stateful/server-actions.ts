import type { Reply } from '../fake-cloud.js';
import { queueSnapshot } from './image-views.js';
import { isSince, novaRefusal, type Request } from './request.js';
import { detailView } from './server-views.js';
import type { Tasks } from './tasks.js';
import type { CloudServer } from './world.js';

const accepted: Reply = { status: 202 };

/** POST /servers/{id}/action. */
export function actOn(request: Request, server: CloudServer, tasks: Tasks): Reply {
  const [verb = ''] = Object.keys(request.body ?? {});
  switch (verb) {
    case 'rebuild':
      return rebuild(request, server, tasks);
    case 'os-start':
      return conflict(server, 'start', ['stopped']) ?? done(() => tasks.start(server));
    case 'os-stop':
      return conflict(server, 'stop', ['active', 'error']) ?? done(() => tasks.stop(server));
    case 'createImage':
      return createImage(request, server, tasks);
    case 'os-getConsoleOutput':
      return consoleOutput(request, server);
    case 'lock':
    case 'unlock':
      server.isLocked = verb === 'lock';
      return accepted;
    default:
      return novaRefusal(400, `There is no such action: ${verb}`);
  }
}

function done(act: () => void): Reply {
  act();
  return accepted;
}

/** The checks of Nova before it does something with a server: lock, vm_state, task_state, whether it ever ran. */
function conflict(server: CloudServer, action: string, states: readonly string[], isLockable = true): Reply | undefined {
  const { id, vmState, taskState } = server;
  if (server.isLocked && isLockable) return novaRefusal(409, `Instance ${id} is locked`);
  const cannot = `Cannot '${action}' instance ${id} while it is in`;
  if (!states.includes(vmState)) return novaRefusal(409, `${cannot} vm_state ${vmState}`);
  if (taskState !== null) return novaRefusal(409, `${cannot} task_state ${taskState}`);
  if (server.launched === undefined) return novaRefusal(409, `Instance ${id} is in an invalid state for '${action}'`);
  return undefined;
}

function rebuild(request: Request, server: CloudServer, tasks: Tasks): Reply {
  const { world } = request;
  const asked = request.body.rebuild;
  const refusal = conflict(server, 'rebuild', ['active', 'stopped', 'error']);
  if (refusal !== undefined) return refusal;
  if (asked.key_name && !world.keyPairs.includes(asked.key_name)) return novaRefusal(400, 'Invalid key_name provided.');
  const image = world.images.get(asked.imageRef);
  if (image === undefined) return novaRefusal(400, 'Cannot find image for rebuild');
  if (image.status !== 'active') return novaRefusal(400, `Image ${image.id} is not active.`);
  if (asked.name !== undefined) server.name = asked.name;
  // All of it is replaced.
  if (asked.metadata !== undefined) server.metadata = asked.metadata;
  if (asked.user_data !== undefined && isSince(request, 57)) server.userData = asked.user_data;
  if (asked.key_name !== undefined && isSince(request, 54)) server.keyName = asked.key_name;
  tasks.rebuild(server, image);
  const view = detailView(request, server, false);
  return { status: 202, reply: { server: { ...view, adminPass: 'admin-pass', user_data: server.userData } } };
}

function createImage(request: Request, server: CloudServer, tasks: Tasks): Reply {
  const { name, metadata = {} } = request.body.createImage;
  const refusal = conflict(server, 'createImage', ['active', 'paused', 'stopped'], false);
  if (refusal !== undefined) return refusal;
  const image = queueSnapshot(request.world, server, name, metadata);
  tasks.snapshot(server, image);
  if (isSince(request, 45)) return { status: 202, reply: { image_id: image.id } };
  return { status: 202, headers: { location: `http://image.cloud.test/v2/images/${image.id}` } };
}

function consoleOutput(request: Request, server: CloudServer): Reply {
  const { length } = request.body['os-getConsoleOutput'];
  if (server.host === undefined) return novaRefusal(409, `Instance ${server.id} is not ready`);
  if (server.booted === undefined) return novaRefusal(404, 'Guest does not have a console available.');
  const lines = consoleOf(server, request.world.now()).split('\n');
  const count = length === undefined || length === null ? lines.length : Number(length) + 1;
  return { status: 200, reply: { output: lines.slice(-count).join('\n') } };
}

/** What the guest has written since its last boot. */
export function consoleOf({ guest, booted = 0 }: CloudServer, now: number): string {
  return guest.ready !== undefined && now - booted >= guest.bootMs ? `${guest.banner}${guest.ready}\n` : guest.banner;
}
