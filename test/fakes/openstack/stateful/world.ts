import { Agenda } from './agenda.js';
import { type HostLimits, Hosts, hashed } from './hosts.js';

export interface Flavor {
  id: string;
  name: string;
  ram: number;
  vcpus: number;
  /** GiB. */
  disk: number;
}

/** What a guest writes to its console. */
export interface Guest {
  /** At once. */
  banner: string;
  /** After the boot; undefined: it does not come up. */
  ready: string | undefined;
  bootMs: number;
}

export interface CloudImage {
  id: string;
  name: string | null;
  sequence: number;
  status: 'queued' | 'saving' | 'active' | 'deactivated';
  format: string | null;
  container: string | null;
  visibility: string;
  isProtected: boolean;
  owner: string;
  tags: string[];
  properties: Record<string, string>;
  minDisk: number;
  minRam: number;
  bytes: number | null;
  /** Size of the guest's disk; null: unknown. */
  virtualBytes: number | null;
  sha512: string | null;
  created: number;
  updated: number;
  /** Files that a user wrote, by the names that the test gave them. */
  files: ReadonlySet<string>;
  guest: Guest;
}

export interface Address {
  network: string;
  /** IPv4, or IPv6 if it has a colon. */
  address: string;
  mac: string;
  /** Default: fixed. */
  kind?: 'fixed' | 'floating';
}

export interface CloudServer {
  id: string;
  name: string;
  /** Later servers have larger numbers. */
  sequence: number;
  /** Empty: it boots from a volume. */
  imageId: string;
  /** Of its image when it was made or rebuilt: images of the server inherit them. */
  imageProperties: Record<string, string>;
  flavor: Flavor;
  vmState: 'building' | 'active' | 'paused' | 'stopped' | 'error' | 'deleted';
  taskState: string | null;
  tags: string[];
  metadata: Record<string, string>;
  userData: string | null;
  keyName: string | null;
  /** That was asked for. */
  zone: string | undefined;
  securityGroups: string[];
  addresses: Address[];
  reservation: string;
  host: string | undefined;
  /** When it became active for the first time, or was rebuilt. */
  launched: number | undefined;
  fault: { message: string; created: number } | undefined;
  /** It found no host: lists do not show its fault. */
  isInCell0: boolean;
  isLocked: boolean;
  created: number;
  updated: number;
  /** Files that its user wrote since the disk was made, and those of its image. */
  files: Set<string>;
  booted: number | undefined;
  guest: Guest;
  /** Images that are being made of it. */
  snapshot: string | undefined;
}

/** ms that each task takes on its host; the waits for a free slot come on top. */
export interface TaskTimes {
  schedule: number;
  create: number;
  rebuild: number;
  start: number;
  stop: number;
  delete: number;
  /** Until the image is complete. */
  snapshot: number;
  /** Until the server is idle after that. */
  afterSnapshot: number;
}

export interface WorldOptions {
  /** ms, monotonic. Default: time stands still but for {@link msPerRead}. */
  now?: () => number;
  /** ms that pass with every request that reads servers or images. Default: 0 */
  msPerRead?: number;
  isAdmin?: boolean;
  /** The storage makes images of servers by itself, as Ceph does: the Image service has no hash of them. */
  hasDirectSnapshots?: boolean;
  hosts?: number;
  limits?: Partial<HostLimits>;
  times?: Partial<TaskTimes>;
  quota?: Partial<Quota>;
  flavors?: readonly Flavor[];
  networks?: readonly string[];
  keyPairs?: readonly string[];
  zones?: readonly string[];
  /** The highest Compute microversion. */
  microversion?: string;
  /** Entries of a page at most, as with max_limit of the services. */
  pageSize?: number;
  /** s. */
  tokenLife?: number;
}

/** undefined: unlimited. */
export interface Quota {
  instances: number | undefined;
  cores: number | undefined;
  ramMiB: number | undefined;
}

const usualTimes: TaskTimes = {
  ...{ schedule: 500, create: 2_500, rebuild: 1_200, start: 800, stop: 1_500, delete: 1_000, snapshot: 2_000, afterSnapshot: 500 },
};
const usualFlavors: Flavor[] = [
  { id: hashed('flavor huge'), name: 'cow.huge', ram: 100_000_000, vcpus: 1, disk: 0 },
  { id: hashed('flavor tiny'), name: 'cow.tiny', ram: 128, vcpus: 1, disk: 1 },
];
export const usualGuest: Guest = { banner: '\nSYSLINUX 6.04\n', ready: 'TINY-READY golden\nlogin: ', bootMs: 1_500 };
const epoch = Date.parse('2026-01-01T00:00:00Z');

/** The state of a cloud: what exists in it, and what will happen. */
export class World {
  readonly servers = new Map<string, CloudServer>();
  readonly images = new Map<string, CloudImage>();
  /** Ids of deleted images cannot be used again. */
  readonly usedImageIds = new Set<string>();
  readonly agenda = new Agenda();
  readonly hosts: Hosts;
  readonly times: TaskTimes;
  readonly quota: Quota;
  readonly flavors: readonly Flavor[];
  readonly networks: Array<{ id: string; name: string }>;
  readonly keyPairs: readonly string[];
  readonly zones: readonly string[];
  readonly projectId = hashed('project').replaceAll('-', '');
  readonly userId = hashed('user').replaceAll('-', '');
  isAdmin: boolean;
  #passed = 0;
  #sequence = 0;

  constructor(readonly options: WorldOptions) {
    const { hosts = 2, limits = {}, times = {}, quota = {}, isAdmin = false } = options;
    this.hosts = new Hosts(hosts, { capacity: 1_000, slots: 10, ramMiB: 1_000_000, ...limits });
    this.times = { ...usualTimes, ...times };
    this.quota = { instances: 200, cores: undefined, ramMiB: undefined, ...quota };
    this.flavors = options.flavors ?? usualFlavors;
    this.networks = (options.networks ?? []).map((name) => ({ id: hashed(`network ${name}`), name }));
    this.keyPairs = options.keyPairs ?? [];
    this.zones = options.zones ?? ['nova'];
    this.isAdmin = isAdmin;
  }

  /** ms of the cloud's time. */
  now(): number {
    return (this.options.now?.() ?? 0) + this.#passed;
  }

  /** Time passes, and what was due by then has happened. */
  pass(ms: number): void {
    this.#passed += ms;
    this.agenda.runUntil(this.now());
  }

  /** Lets all tasks end. */
  settle(): void {
    for (let end = this.agenda.end; end !== undefined; end = this.agenda.end) this.pass(Math.max(0, end - this.now()));
  }

  /** A number that is larger than the last one. */
  next(): number {
    return ++this.#sequence;
  }

  /** An id that the cloud chooses: neither in order nor random. */
  newId(): string {
    return hashed(`id ${this.next()}`);
  }

  /** ISO 8601 with whole seconds, as the services write it. */
  date(ms: number): string {
    return `${new Date(epoch + ms).toISOString().slice(0, 19)}Z`;
  }

  /** Servers by host. */
  get load(): Map<string, number> {
    const load = new Map<string, number>();
    for (const { host } of this.servers.values()) if (host !== undefined) load.set(host, (load.get(host) ?? 0) + 1);
    return load;
  }
}
