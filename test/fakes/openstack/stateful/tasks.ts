import { createHash } from 'node:crypto';
import { Mishaps, type TaskVerb } from './mishaps.js';
import type { CloudImage, CloudServer, World } from './world.js';

const noValidHost = 'No valid host was found. ';

interface Work {
  verb: Exclude<TaskVerb, 'createImage'>;
  /** While the host works on it. */
  taskState: string;
  /** When it gets this state, as a part of the work. */
  after?: number;
}

/** What the compute services do with servers: each task changes the task state in steps, and takes its time. */
export class Tasks {
  readonly mishaps = new Mishaps();

  constructor(private readonly world: World) {}

  create(server: CloudServer): void {
    const { world } = this;
    server.taskState = 'scheduling';
    world.agenda.add(world.now() + world.times.schedule, server, (at) => {
      const host = world.hosts.choose(server.flavor.ram, world.load);
      if (host === undefined) {
        server.isInCell0 = true;
        return this.#fail(server, noValidHost, at);
      }
      server.host = host.name;
      // As recorded: it has a host, and nothing happens yet.
      this.#enter(server, null, at);
      this.#work(server, { verb: 'create', taskState: 'spawning' }, at, (end) => this.#boot(server, end));
    });
  }

  /** The image is that of the server at once, as the API changes it. */
  rebuild(server: CloudServer, image: CloudImage): void {
    const wasStopped = server.vmState === 'stopped';
    Object.assign(server, { imageId: image.id, imageProperties: { ...image.properties } });
    this.#enter(server, 'rebuilding', this.world.now());
    // What the image is when its file is read.
    const { files, guest } = image;
    this.#work(server, { verb: 'rebuild', taskState: 'rebuild_spawning', after: 0.6 }, this.world.now(), (end) => {
      server.files = new Set(files);
      server.guest = guest;
      this.#boot(server, end);
      if (!wasStopped) return;
      this.#enter(server, 'powering-off', end);
      this.world.agenda.add(end + this.world.times.stop, server, (at) => this.#halt(server, at));
    });
  }

  start(server: CloudServer): void {
    this.#enter(server, 'powering-on', this.world.now());
    this.#work(server, { verb: 'start', taskState: 'powering-on' }, this.world.now(), (end) => this.#boot(server, end, server.launched));
  }

  stop(server: CloudServer): void {
    this.#enter(server, 'powering-off', this.world.now());
    this.#work(server, { verb: 'stop', taskState: 'powering-off' }, this.world.now(), (end) => this.#halt(server, end));
  }

  delete(server: CloudServer): void {
    const { agenda } = this.world;
    // A second request changes nothing, unless the first one got stuck.
    if (server.taskState === 'deleting' && agenda.has(server)) return;
    agenda.cancel(server);
    // The cloud removes the image of a server that it cannot complete.
    if (server.snapshot !== undefined) this.world.images.delete(server.snapshot);
    server.snapshot = undefined;
    if (server.host === undefined) return void this.world.servers.delete(server.id);
    this.#enter(server, 'deleting', this.world.now());
    this.#work(server, { verb: 'delete', taskState: 'deleting' }, this.world.now(), () => this.world.servers.delete(server.id));
  }

  /** Makes an image of the server's disk. The image is queued already. */
  snapshot(server: CloudServer, image: CloudImage): void {
    const { world } = this;
    const begin = world.now();
    const part = world.times.snapshot / 3;
    const mishap = this.mishaps.take('createImage', server.name);
    server.snapshot = image.id;
    this.#enter(server, 'image_snapshot', begin);
    if (mishap?.how === 'stuck') return;
    world.agenda.add(begin + part, server, (at) => {
      this.#enter(server, 'image_uploading', at);
      Object.assign(image, { format: 'qcow2', container: 'bare', updated: at });
      // The guest may write until then.
      image.files = new Set(server.files);
    });
    world.agenda.add(begin + 3 * part, server, (at) => {
      server.snapshot = undefined;
      if (mishap === undefined) this.#complete(image, server, at);
      else world.images.delete(image.id);
      // Nova ends its task a little later.
      world.agenda.add(at + world.times.afterSnapshot, server, (end) => this.#enter(server, null, end));
    });
  }

  /** The same disk gives the same file: files of users, and what a boot has written. */
  #complete(image: CloudImage, { id, imageId, booted, flavor }: CloudServer, at: number): void {
    const { options, images } = this.world;
    const content = [id, booted, ...[...image.files].sort()].join('\n');
    const sha512 = options.hasDirectSnapshots === true ? null : createHash('sha512').update(content).digest('hex');
    const virtualBytes = flavor.disk === 0 ? (images.get(imageId)?.virtualBytes ?? null) : flavor.disk * 1024 ** 3;
    Object.assign(image, { status: 'active', bytes: 29_294_592, virtualBytes, sha512, updated: at });
  }

  /** A task that has failed. */
  fail(server: CloudServer, message: string): void {
    this.#fail(server, message, this.world.now());
  }

  /** Work on a host, which begins when the host has a free slot. */
  #work(server: CloudServer, { verb, taskState, after = 0 }: Work, at: number, done: (end: number) => void): void {
    const { world } = this;
    const { begin, end } = world.hosts.occupy(server.host ?? '', at, world.times[verb]);
    const mishap = this.mishaps.take(verb, server.name);
    world.agenda.add(begin + after * (end - begin), server, (time) => this.#enter(server, taskState, time));
    if (mishap?.how === 'stuck') return;
    world.agenda.add(end, server, (time) => {
      if (mishap === undefined) return done(time);
      // A server that could not be created does not stay on its host.
      if (verb === 'create') server.host = undefined;
      if (verb === 'rebuild') server.files.clear();
      this.#fail(server, mishap.message, time);
    });
  }

  #enter(server: CloudServer, taskState: string | null, at: number): void {
    Object.assign(server, { taskState, updated: at });
  }

  #boot(server: CloudServer, at: number, launched: number | undefined = at): void {
    Object.assign(server, { vmState: 'active', taskState: null, launched, booted: at, fault: undefined, updated: at });
  }

  #halt(server: CloudServer, at: number): void {
    Object.assign(server, { vmState: 'stopped', taskState: null, updated: at });
  }

  #fail(server: CloudServer, message: string, at: number): void {
    Object.assign(server, { vmState: 'error', taskState: null, fault: { message, created: at }, updated: at });
  }
}
