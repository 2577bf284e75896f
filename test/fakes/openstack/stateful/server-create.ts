import type { Reply } from '../fake-cloud.js';
import { novaRefusal, type Request } from './request.js';
import { createdView } from './server-views.js';
import type { Tasks } from './tasks.js';
import type { Address, CloudImage, CloudServer, Flavor, World } from './world.js';

/** POST /servers. */
export function createServers(request: Request, tasks: Tasks): Reply {
  const { world, body } = request;
  const asked = body.server;
  const [image, flavor] = [world.images.get(asked.imageRef), world.flavors.find(({ id }) => id === asked.flavorRef)];
  const refusal = refusalOf(world, asked, image, flavor);
  if (refusal !== undefined) return refusal;
  if (image === undefined || flavor === undefined) throw new Error('not checked');
  const min = asked.min_count ?? 1;
  const most = asked.max_count ?? min;
  const count = allowedCount(world, flavor, min, most);
  if (typeof count !== 'number') return count;
  const reservation = `r-${world.next().toString(36).padStart(8, '0')}`;
  const servers = Array.from({ length: count }, (_, index) =>
    newServer(world, { ...asked, name: most > 1 ? `${asked.name}-${index + 1}` : asked.name }, image, flavor, reservation),
  );
  for (const server of servers) tasks.create(server);
  if (asked.return_reservation_id === true) return { status: 202, reply: { reservation_id: reservation } };
  const [first] = servers;
  return { status: 202, reply: { server: first === undefined ? {} : createdView(first) } };
}

/** The checks of Nova, with its messages. */
function refusalOf(world: World, asked: any, image: CloudImage | undefined, flavor: Flavor | undefined): Reply | undefined {
  if (asked.networks === undefined) return novaRefusal(400, "Invalid input for field/attribute server. 'networks' is a required property");
  const long = (asked.tags ?? []).find((tag: string) => tag.length > 60 || /[,/]/.test(tag));
  if (long !== undefined) return novaRefusal(400, `Invalid input for field/attribute tags. Value: ${long}`);
  if (flavor === undefined) return novaRefusal(400, `Flavor ${asked.flavorRef} could not be found.`);
  if (asked.key_name !== undefined && !world.keyPairs.includes(asked.key_name)) return novaRefusal(400, 'Invalid key_name provided.');
  if (image === undefined) return novaRefusal(400, 'Can not find requested image');
  if (image.status !== 'active') return novaRefusal(400, `Image ${image.id} is not active.`);
  if (asked.availability_zone !== undefined && !world.zones.includes(asked.availability_zone)) {
    return novaRefusal(400, 'The requested availability zone is not available');
  }
  const size = flavor.disk * 1024 ** 3;
  if (flavor.disk === 0 && !world.isAdmin) {
    return novaRefusal(403, 'Only volume-backed servers are allowed for flavors with zero disk.');
  }
  if (flavor.disk > 0 && flavor.disk < image.minDisk) {
    const smaller = "Flavor's disk is smaller than the minimum size specified in image metadata.";
    return novaRefusal(400, `${smaller} Flavor disk is ${size} bytes, minimum size is ${image.minDisk * 1024 ** 3} bytes.`);
  }
  return networkRefusal(world, asked.networks);
}

function networkRefusal(world: World, networks: unknown): Reply | undefined {
  if (networks === 'none') return undefined;
  if (networks === 'auto') {
    return world.networks.length === 0 ? novaRefusal(400, 'Unable to automatically allocate a network for project') : undefined;
  }
  const missing = (networks as Array<{ uuid: string }>).find(({ uuid }) => world.networks.every(({ id }) => id !== uuid));
  return missing === undefined ? undefined : novaRefusal(400, `Network ${missing.uuid} could not be found.`);
}

/** How many of max servers the quota allows, if they are at least min. */
function allowedCount(world: World, { vcpus, ram }: Flavor, min: number, max: number): number | Reply {
  const servers = [...world.servers.values()];
  const sum = (of: (flavor: Flavor) => number): number => servers.reduce((total, { flavor }) => total + of(flavor), 0);
  const { instances, cores, ramMiB } = world.quota;
  const resources = [
    { name: 'instances', limit: instances, used: servers.length, each: 1 },
    { name: 'cores', limit: cores, used: sum((flavor) => flavor.vcpus), each: vcpus },
    { name: 'ram', limit: ramMiB, used: sum((flavor) => flavor.ram), each: ram },
  ];
  const room = ({ limit, used, each }: (typeof resources)[number]): number =>
    limit === undefined ? Number.POSITIVE_INFINITY : Math.floor((limit - used) / each);
  const allowed = Math.min(max, ...resources.map(room));
  if (allowed >= Math.max(1, min)) return allowed;
  const overs = resources.filter((resource) => room(resource) < max);
  const join = (of: (resource: (typeof resources)[number]) => unknown): string => overs.map(of).join(', ');
  const requested = join(({ name, each }) => (name === 'instances' && min < max ? `${min}-${max}` : each * max));
  const [used, limits, names] = [join((one) => one.used), join((one) => one.limit), join((one) => one.name)];
  return novaRefusal(403, `Quota exceeded for ${names}: Requested ${requested}, but already used ${used} of ${limits} ${names}`);
}

function newServer(world: World, asked: any, image: CloudImage, flavor: Flavor, reservation: string): CloudServer {
  const now = world.now();
  const sequence = world.next();
  const server: CloudServer = {
    ...{ id: world.newId(), name: asked.name, sequence, imageId: image.id, flavor, reservation, guest: image.guest },
    ...{ vmState: 'building', taskState: null, created: now, updated: now, launched: undefined, booted: undefined },
    ...{ tags: asked.tags ?? [], metadata: asked.metadata ?? {}, userData: asked.user_data ?? null, keyName: asked.key_name ?? null },
    ...{ zone: asked.availability_zone, securityGroups: (asked.security_groups ?? []).map(({ name }: { name: string }) => name) },
    ...{ addresses: addressesFor(world, asked.networks, sequence), host: undefined, fault: undefined, isInCell0: false, isLocked: false },
    ...{ files: new Set(image.files), snapshot: undefined, imageProperties: { ...image.properties } },
  };
  world.servers.set(server.id, server);
  return server;
}

function addressesFor(world: World, networks: unknown, sequence: number): Address[] {
  if (networks === 'none') return [];
  const wanted = networks === 'auto' ? world.networks.slice(0, 1) : world.networks;
  const chosen =
    networks === 'auto' ? wanted : wanted.filter(({ id }) => (networks as Array<{ uuid: string }>).some(({ uuid }) => uuid === id));
  const [high, low] = [Math.floor(sequence / 250), (sequence % 250) + 2];
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return chosen.map(({ name }, index) => ({
    ...{ network: name, address: `10.${index}.${high}.${low}`, mac: `fa:16:3e:${hex(index)}:${hex(high)}:${hex(low)}` },
  }));
}
