import { FakeCloud, type Received, type Reply } from '../fake-cloud.js';
import { entryApi } from './entry-api.js';
import { imageView, newImage } from './image-views.js';
import { imagesApi } from './images-api.js';
import type { TaskVerb } from './mishaps.js';
import { offersApi } from './offers-api.js';
import { isSince, novaRefusal, requestOf } from './request.js';
import { consoleOf } from './server-actions.js';
import { statusOf } from './server-views.js';
import { serversApi } from './servers-api.js';
import { Tasks } from './tasks.js';
import { type CloudImage, type CloudServer, type Guest, usualGuest, World, type WorldOptions } from './world.js';

/**
 * A cloud on 127.0.0.1 with a state: what is created in it exists, tasks take their time and may fail, guests write to their disks. It
 * behaves as the recorded cloud did. What goes wrong on the way (lost replies, 503 …) is told to {@link fake}.
 */
export class StatefulCloud {
  readonly world: World;
  readonly tasks: Tasks;
  readonly #guests = new Map<string, Guest>();

  private constructor(
    readonly fake: FakeCloud,
    options: WorldOptions,
  ) {
    this.world = new World(options);
    this.tasks = new Tasks(this.world);
    fake.on((received) => this.#answer(received));
  }

  static async start(options: WorldOptions = {}): Promise<StatefulCloud> {
    return new StatefulCloud(await FakeCloud.start(), options);
  }

  stop(): Promise<void> {
    return this.fake.stop();
  }

  /** Variables for a login. */
  get environment(): Record<string, string> {
    return this.fake.environment;
  }

  /** The next task of this kind ends with status ERROR, or, for createImage, without an image. @param server default: any */
  failNext(verb: TaskVerb, server?: string, message = `The ${verb} has failed on its host.`): void {
    this.tasks.mishaps.add({ verb, server, how: 'error', message });
  }

  /** The next task of this kind never ends. */
  stickNext(verb: TaskVerb, server?: string): void {
    this.tasks.mishaps.add({ verb, server, how: 'stuck', message: '' });
  }

  /** What guests with this image do, also if it is uploaded later. @param image its name */
  guest(image: string, changes: Partial<Guest>): void {
    const guest = { ...usualGuest, ...changes };
    this.#guests.set(image, guest);
    for (const one of this.world.images.values()) if (one.name === image) one.guest = guest;
  }

  /** The oldest first, after everything that was due. */
  get servers(): CloudServer[] {
    this.world.pass(0);
    return [...this.world.servers.values()].sort((a, b) => a.sequence - b.sequence);
  }

  /** The only server with this name. */
  server(name: string): CloudServer {
    const [found, ...others] = this.servers.filter((server) => server.name === name);
    if (found === undefined || others.length > 0)
      throw new Error(`${others.length + (found === undefined ? 0 : 1)} servers are named ${name}`);
    return found;
  }

  statusOf(name: string): string {
    return statusOf(this.server(name));
  }

  get images(): CloudImage[] {
    this.world.pass(0);
    return [...this.world.images.values()];
  }

  /** The only image with this name. */
  image(name: string): CloudImage {
    const [found, ...others] = this.images.filter((image) => image.name === name);
    if (found === undefined || others.length > 0)
      throw new Error(`${others.length + (found === undefined ? 0 : 1)} images are named ${name}`);
    return found;
  }

  /** The user of a guest writes a file. */
  writeFile(server: string, file: string): void {
    this.server(server).files.add(file);
  }

  console(server: string): string {
    return consoleOf(this.server(server), this.world.now());
  }

  /** A server that somebody else created in the project; it is running. */
  addServer(fields: Partial<CloudServer> & { name: string }): CloudServer {
    const { world } = this;
    const now = world.now();
    const [flavor] = world.flavors.slice(-1);
    if (flavor === undefined) throw new Error('the cloud has no flavor');
    const server: CloudServer = {
      ...{ id: world.newId(), sequence: world.next(), imageId: world.newId(), imageProperties: {}, flavor, vmState: 'active' },
      ...{ taskState: null, tags: [], metadata: {}, userData: null, keyName: null, zone: undefined, securityGroups: [], addresses: [] },
      ...{ reservation: 'r-other', host: world.hosts.all[0]?.name, launched: now, booted: now, fault: undefined, isInCell0: false },
      ...{ isLocked: false, created: now, updated: now, files: new Set<string>(), guest: usualGuest, snapshot: undefined },
      ...fields,
    };
    world.servers.set(server.id, server);
    return server;
  }

  /** An image that somebody else uploaded; it is active. */
  addImage(fields: Partial<CloudImage> & { name: string }): CloudImage {
    const file = { format: 'qcow2', container: 'bare', bytes: 1_000_000, virtualBytes: 76_546_048, sha512: '5'.repeat(128) };
    const usual = { status: 'active', ...file } as const;
    return newImage(this.world, { ...usual, guest: this.#guests.get(fields.name) ?? usualGuest, ...fields });
  }

  /** It is gone at once, with whatever the cloud was doing with it. */
  removeServer(which: CloudServer | string): void {
    const server = this.#given(which);
    this.world.agenda.cancel(server);
    this.world.servers.delete(server.id);
  }

  /** Its guest has shut down, or a user has stopped it. */
  haltServer(which: CloudServer | string): void {
    const server = this.#given(which);
    // One that got no host has nothing that could be switched off.
    if (server.host === undefined) return;
    this.world.agenda.cancel(server);
    Object.assign(server, { vmState: 'stopped', taskState: null, launched: server.launched ?? this.world.now() });
  }

  /** Its host has failed. One that was being built has none afterwards. */
  breakServer(which: CloudServer | string, message = 'The host has failed.'): void {
    const server = this.#given(which);
    this.world.agenda.cancel(server);
    if (server.launched === undefined) server.host = undefined;
    this.tasks.fail(server, message);
  }

  #given(which: CloudServer | string): CloudServer {
    return typeof which === 'string' ? this.server(which) : which;
  }

  /** What becomes of a server after some time. @param ms of the cloud's time */
  later(server: CloudServer, ms: number, changes: Partial<CloudServer>): void {
    this.world.agenda.add(this.world.now() + ms, server, () => void Object.assign(server, changes));
  }

  /** An operator deletes an image, also a protected one. */
  removeImage(name: string): void {
    this.world.images.delete(this.image(name).id);
  }

  /** An image as the Image API shows it. */
  imageView(name: string): Record<string, unknown> {
    return imageView(this.world, this.image(name));
  }

  /** Lets all tasks end. */
  settle(): void {
    this.world.settle();
  }

  #answer(received: Received): Reply | undefined {
    const { world } = this;
    world.pass(0);
    const entry = entryApi(world, received);
    if (entry !== undefined) return entry;
    if (received.service === 'image') {
      const request = requestOf(world, received, 'v2');
      if (request?.path[0] !== 'images') return undefined;
      return withId(imagesApi(request, (name) => this.#guests.get(name)));
    }
    const request = received.service === 'compute' ? requestOf(world, received, 'v2.1') : undefined;
    if (request === undefined) return undefined;
    const newest = Number((world.options.microversion ?? '2.93').split('.')[1]);
    if (isSince(request, newest + 1)) return novaRefusal(406, `Version ${request.microversion} is not supported by the API.`);
    const reply = request.path[0] === 'servers' ? serversApi(request, this.tasks) : offersApi(request);
    return withId(reply, { 'openstack-api-version': `compute ${request.microversion}` });
  }
}

let requests = 0;

function withId(reply: Reply | undefined, headers: Record<string, string> = {}): Reply | undefined {
  if (reply === undefined) return undefined;
  return { ...reply, headers: { 'x-openstack-request-id': `req-${++requests}`, ...headers, ...reply.headers } };
}
