import type { Reply } from '../fake-cloud.js';
import { isSince, novaRefusal, type Request } from './request.js';
import { linksOf } from './server-views.js';
import type { Flavor } from './world.js';

/** What the cloud offers: flavors, zones, key pairs, limits, hosts. @returns undefined: not known */
export function offersApi(request: Request): Reply | undefined {
  const { world, method, path } = request;
  if (method !== 'GET') return undefined;
  const [kind, name] = path;
  switch (kind) {
    case 'flavors':
      return flavors(request, name);
    case 'limits':
      return { status: 200, reply: { limits: limitsOf(request) } };
    case 'os-availability-zone':
      return {
        status: 200,
        reply: { availabilityZoneInfo: world.zones.map((zoneName) => ({ zoneName, zoneState: { available: true }, hosts: null })) },
      };
    case 'os-keypairs':
      if (name === undefined) return { status: 200, reply: { keypairs: world.keyPairs.map((one) => ({ keypair: keyPair(one) })) } };
      if (!world.keyPairs.includes(name)) return novaRefusal(404, `Keypair ${name} not found for user ${world.userId}`);
      return { status: 200, reply: { keypair: keyPair(name) } };
    default:
      return undefined;
  }
}

function keyPair(name: string): unknown {
  return { name, type: 'ssh', fingerprint: '00:00', public_key: `ssh-ed25519 AAAA ${name}` };
}

function flavors({ world, microversion }: Request, name: string | undefined): Reply {
  const detail = ({ id, name, ram, disk, vcpus }: Flavor): unknown => ({
    ...{ id, name, ram, disk, vcpus, swap: 0, rxtx_factor: 1, links: linksOf('flavors', id) },
    ...{ 'OS-FLV-EXT-DATA:ephemeral': 0, 'OS-FLV-DISABLED:disabled': false, 'os-flavor-access:is_public': true },
    ...(isSince({ microversion }, 61) ? { description: null, extra_specs: {} } : {}),
  });
  if (name === 'detail') return { status: 200, reply: { flavors: world.flavors.map(detail) } };
  if (name === undefined) {
    return { status: 200, reply: { flavors: world.flavors.map(({ id, name }) => ({ id, name, links: linksOf('flavors', id) })) } };
  }
  const flavor = world.flavors.find(({ id }) => id === name);
  return flavor === undefined ? novaRefusal(404, `Flavor ${name} could not be found.`) : { status: 200, reply: { flavor: detail(flavor) } };
}

/** -1: unlimited. */
function limitsOf({ world }: Request): unknown {
  const flavors = [...world.servers.values()].map(({ flavor }) => flavor);
  const { instances = -1, cores = -1, ramMiB = -1 } = world.quota;
  return {
    rate: [],
    absolute: {
      ...{ maxTotalInstances: instances, maxTotalCores: cores, maxTotalRAMSize: ramMiB, maxServerMeta: 128, maxTotalKeypairs: 100 },
      totalInstancesUsed: flavors.length,
      totalCoresUsed: flavors.reduce((sum, { vcpus }) => sum + vcpus, 0),
      totalRAMUsed: flavors.reduce((sum, { ram }) => sum + ram, 0),
    },
  };
}
