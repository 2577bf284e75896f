import { createHash } from 'node:crypto';
import { isSince, type Request } from './request.js';
import type { CloudServer, World } from './world.js';

const compute = 'http://compute.cloud.test';

export function statusOf({ vmState, taskState }: Pick<CloudServer, 'vmState' | 'taskState'>): string {
  if (vmState === 'building') return 'BUILD';
  if (taskState?.startsWith('rebuil') === true) return 'REBUILD';
  return { active: 'ACTIVE', paused: 'PAUSED', stopped: 'SHUTOFF', error: 'ERROR', deleted: 'DELETED' }[vmState];
}

export function linksOf(kind: string, id: string): unknown {
  return [
    { rel: 'self', href: `${compute}/v2.1/${kind}/${id}` },
    { rel: 'bookmark', href: `${compute}/${kind}/${id}` },
  ];
}

/** The reply to a request that creates a server. */
export function createdView({ id, securityGroups }: CloudServer): unknown {
  const names = securityGroups.length === 0 ? ['default'] : securityGroups;
  const security_groups = names.map((name) => ({ name }));
  return { id, links: linksOf('servers', id), 'OS-DCF:diskConfig': 'MANUAL', security_groups, adminPass: 'admin-pass' };
}

export function briefView({ id, name }: CloudServer): unknown {
  return { id, name, links: linksOf('servers', id) };
}

/** A server with its details. @param isListed lists leave out the fault of a server that found no host */
export function detailView(request: Request, server: CloudServer, isListed: boolean): Record<string, unknown> {
  const { world } = request;
  const { id, name, imageId, metadata, vmState, taskState } = server;
  const status = statusOf(server);
  const hasProgress = ['ACTIVE', 'BUILD', 'REBUILD'].includes(status);
  return {
    ...{ id, name, status, tenant_id: world.projectId, user_id: world.userId, metadata, hostId: hostIdOf(world, server) },
    image: imageId === '' ? '' : { id: imageId, links: [{ rel: 'bookmark', href: `${compute}/images/${imageId}` }] },
    flavor: flavorView(request, server),
    ...{ created: world.date(server.created), updated: world.date(server.updated) },
    addresses: addressesOf(server),
    ...{ accessIPv4: '', accessIPv6: '', links: linksOf('servers', id), 'OS-DCF:diskConfig': 'MANUAL' },
    ...faultOf(world, server, isListed),
    ...(hasProgress ? { progress: 0 } : {}),
    'OS-EXT-AZ:availability_zone': server.host === undefined ? (server.zone ?? '') : (server.zone ?? 'nova'),
    ...{ config_drive: '', key_name: server.keyName },
    'OS-SRV-USG:launched_at': server.launched === undefined ? null : `${world.date(server.launched).slice(0, -1)}.000000`,
    'OS-SRV-USG:terminated_at': null,
    ...(world.isAdmin ? adminFields(request, server) : {}),
    ...{ 'OS-EXT-STS:task_state': taskState, 'OS-EXT-STS:vm_state': vmState },
    'OS-EXT-STS:power_state': { active: 1, paused: 3, stopped: 4, building: 0, error: 0, deleted: 0 }[vmState],
    'os-extended-volumes:volumes_attached': [],
    locked: server.isLocked,
    ...(isSince(request, 73) ? { locked_reason: null } : {}),
    description: null,
    ...(isSince(request, 26) ? { tags: server.tags } : {}),
    ...(isSince(request, 63) ? { trusted_image_certificates: null } : {}),
    ...(isSince(request, 71) && !isListed ? { server_groups: [] } : {}),
  };
}

/** A hash of project and host, so that tenants can tell whether servers share one. */
function hostIdOf({ projectId }: World, { host }: CloudServer): string {
  return host === undefined ? '' : createHash('sha224').update(`${projectId}${host}`).digest('hex');
}

function flavorView(request: Request, { flavor }: CloudServer): unknown {
  const { id, name, ram, vcpus, disk } = flavor;
  if (!isSince(request, 47)) return { id, links: [{ rel: 'bookmark', href: `${compute}/flavors/${id}` }] };
  return { vcpus, ram, disk, ephemeral: 0, swap: 0, original_name: name, extra_specs: {} };
}

function addressesOf({ addresses }: CloudServer): Record<string, unknown> {
  const byNetwork = new Map<string, unknown[]>();
  for (const { network, address, mac, kind = 'fixed' } of addresses) {
    const version = address.includes(':') ? 6 : 4;
    const entry = { version, addr: address, 'OS-EXT-IPS:type': kind, 'OS-EXT-IPS-MAC:mac_addr': mac };
    byNetwork.set(network, [...(byNetwork.get(network) ?? []), entry]);
  }
  return Object.fromEntries(byNetwork);
}

function faultOf(world: World, server: CloudServer, isListed: boolean): { fault?: unknown } {
  const { fault, isInCell0 } = server;
  if (statusOf(server) !== 'ERROR' || fault === undefined || (isListed && isInCell0)) return {};
  return { fault: { code: 500, created: world.date(fault.created), message: fault.message } };
}

function adminFields(request: Request, server: CloudServer): Record<string, unknown> {
  const { host, reservation, name } = server;
  return {
    ...{ 'OS-EXT-SRV-ATTR:host': host ?? null, 'OS-EXT-SRV-ATTR:hypervisor_hostname': host ?? null },
    'OS-EXT-SRV-ATTR:instance_name': host === undefined ? '' : `instance-${server.sequence.toString(16).padStart(8, '0')}`,
    ...{ 'OS-EXT-SRV-ATTR:reservation_id': reservation, 'OS-EXT-SRV-ATTR:launch_index': 0, 'OS-EXT-SRV-ATTR:hostname': name },
    ...{ 'OS-EXT-SRV-ATTR:kernel_id': '', 'OS-EXT-SRV-ATTR:ramdisk_id': '' },
    'OS-EXT-SRV-ATTR:root_device_name': host === undefined ? null : '/dev/vda',
    'OS-EXT-SRV-ATTR:user_data': server.userData,
    ...(isSince(request, 16) ? { host_status: host === undefined ? '' : 'UP' } : {}),
  };
}
