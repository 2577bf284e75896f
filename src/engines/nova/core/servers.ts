import { z } from 'zod';

/** A server as the Compute API shows it: only the fields that are used. */
export interface Server {
  id: string;
  name: string;
  /** ACTIVE, SHUTOFF, BUILD, ERROR …; other values are possible. UNKNOWN: its cell does not answer. */
  status: string;
  /** What the cloud is doing with it; null: nothing. */
  taskState: string | null;
  /** undefined: it boots from a volume. */
  imageId: string | undefined;
  flavor: { name: string; ramMiB: number; vcpus: number; diskGiB: number } | undefined;
  tags: string[];
  metadata: Record<string, string>;
  addresses: ServerAddress[];
  /** A hash of host and project: equal for servers of one project on one host. Empty before it has a host. */
  hostId: string;
  /** For administrators only. */
  host: string | undefined;
  zone: string | undefined;
  keyName: string | undefined;
  isLocked: boolean;
  /** Whether its guest has ever run. */
  wasLaunched: boolean;
  /** ISO 8601. */
  created: string;
  updated: string;
  /** Why its status is ERROR. */
  fault: string | undefined;
}

export interface ServerAddress {
  network: string;
  address: string;
  version: 4 | 6;
  kind: 'fixed' | 'floating';
  mac: string | undefined;
}

const addressSchema = z.object({
  addr: z.string(),
  version: z.union([z.literal(4), z.literal(6)]),
  'OS-EXT-IPS:type': z.string().nullish(),
  'OS-EXT-IPS-MAC:mac_addr': z.string().nullish(),
});

/** A cell that does not answer shows only id, status and created of its servers. */
const rawServer = z.object({
  id: z.string().min(1),
  name: z.string().nullish(),
  status: z.string(),
  'OS-EXT-STS:task_state': z.string().nullish(),
  // A volume-backed server has an empty text.
  image: z.union([z.object({ id: z.string() }), z.literal('')]).nullish(),
  flavor: z
    .object({ original_name: z.string().optional(), ram: z.number().optional(), vcpus: z.number().optional(), disk: z.number().optional() })
    .nullish(),
  tags: z.array(z.string()).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  addresses: z.record(z.string(), z.array(addressSchema)).nullish(),
  hostId: z.string().nullish(),
  'OS-EXT-SRV-ATTR:host': z.string().nullish(),
  'OS-EXT-AZ:availability_zone': z.string().nullish(),
  key_name: z.string().nullish(),
  locked: z.boolean().nullish(),
  'OS-SRV-USG:launched_at': z.string().nullish(),
  created: z.string(),
  updated: z.string().nullish(),
  fault: z.object({ message: z.string(), code: z.number().optional() }).nullish(),
});

export const serverSchema = rawServer.transform(
  (raw): Server => ({
    id: raw.id,
    name: raw.name ?? '',
    status: raw.status,
    taskState: raw['OS-EXT-STS:task_state'] ?? null,
    imageId: raw.image === '' ? undefined : raw.image?.id,
    flavor: flavorOf(raw.flavor),
    tags: raw.tags ?? [],
    metadata: raw.metadata ?? {},
    addresses: Object.entries(raw.addresses ?? {}).flatMap(([network, list]) => list.map((entry) => addressOf(network, entry))),
    hostId: raw.hostId ?? '',
    host: raw['OS-EXT-SRV-ATTR:host'] ?? undefined,
    zone: raw['OS-EXT-AZ:availability_zone'] || undefined,
    keyName: raw.key_name ?? undefined,
    isLocked: raw.locked ?? false,
    wasLaunched: (raw['OS-SRV-USG:launched_at'] ?? null) !== null,
    created: raw.created,
    updated: raw.updated ?? raw.created,
    fault: raw.fault?.message,
  }),
);

function flavorOf(raw: z.output<typeof rawServer>['flavor']): Server['flavor'] {
  if (raw === undefined || raw === null) return undefined;
  return { name: raw.original_name ?? '', ramMiB: raw.ram ?? 0, vcpus: raw.vcpus ?? 0, diskGiB: raw.disk ?? 0 };
}

function addressOf(network: string, entry: z.output<typeof addressSchema>): ServerAddress {
  const kind = entry['OS-EXT-IPS:type'] === 'floating' ? 'floating' : 'fixed';
  return { network, address: entry.addr, version: entry.version, kind, mac: entry['OS-EXT-IPS-MAC:mac_addr'] ?? undefined };
}

/** The oldest first; equal times by id, so that every run chooses the same one. */
export function oldestFirst(servers: readonly Server[]): Server[] {
  return [...servers].sort((a, b) => compare(a.created, b.created) || compare(a.id, b.id));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
