import { dirname } from 'node:path';
import { imagesNamedIn, imagesPrintedIn } from '../../core/domain/foreign-domain.js';
import { CowherdError } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';
import { isNotThere } from '../../core/snapshot/snapshot.js';
import type { Ports } from '../../ports/index.js';

/** Who else stands on an image: domains, by their XML and by the headers of their disks; files of the store, and beside the image. */

interface Question {
  /** Images that are to be written or removed. */
  images: readonly string[];
  /** The domain that does so, and the disks of it that are seen to. */
  domain: DomainState;
  handle: string;
  targets: ReadonlySet<string>;
  /** Overlays that may stand on them, since they are seen to, too. */
  ours: readonly string[];
}

/** @throws IMAGE_IN_USE, naming everyone */
export async function assertUnused(ports: Ports, question: Question): Promise<void> {
  const users = await findUsers(ports, question);
  if (users.length === 0) return;
  throw new CowherdError('IMAGE_IN_USE', `${question.images[0]} is used by others than ${question.domain.name}; nothing was changed`, {
    details: users,
    hint: 'Their content would become garbage. Give each a disk of its own first (qemu-img convert), or remove them.',
  });
}

/** @returns who else stands on the images, in words */
export function findUsers(ports: Ports, question: Question): Promise<string[]> {
  return new Search(ports, question).run();
}

/** Names of other domains that have an image as a disk of their own. */
export async function domainsWithDisk(ports: Ports, domain: DomainState, path: string): Promise<string[]> {
  const identity = await ports.disks.identity(path);
  const found: string[] = [];
  for (const [name, xml] of await otherDomains(ports, domain)) {
    const heads = await Promise.all(imagesPrintedIn(xml).heads.map((head) => ports.disks.identity(head)));
    if (heads.includes(identity)) found.push(name);
  }
  return found;
}

/** XML by name. */
async function otherDomains(ports: Ports, { uuid }: DomainState): Promise<Map<string, string>> {
  const others = (await ports.hypervisor.listDomains()).filter((other) => other.uuid !== uuid);
  // By UUID: virsh takes a name that is a number for the id of a running domain.
  const documents = await ports.hypervisor.readXml(others.map((other) => other.uuid));
  return new Map(
    others.flatMap((other) => [documents.get(other.uuid)].flatMap((xml) => (xml === undefined ? [] : [[other.name, xml] as const]))),
  );
}

class Search {
  readonly #ports: Ports;
  readonly #question: Question;
  readonly #users = new Set<string>();
  readonly #seen = new Set<string>();
  /** By what they are, whatever they are called. */
  #images = new Set<string>();
  #ours = new Set<string>();

  constructor(ports: Ports, question: Question) {
    this.#ports = ports;
    this.#question = question;
  }

  async run(): Promise<string[]> {
    const { images, ours, domain } = this.#question;
    this.#images = new Set(await this.#identities(images));
    this.#ours = new Set(await this.#identities(ours));
    const directories = new Set<string>();
    for (const image of images) for (const path of [image, await this.#ports.disks.realPath(image)]) directories.add(dirname(path));
    for (const [name, xml] of await otherDomains(this.#ports, domain)) {
      const { files, heads } = imagesPrintedIn(xml);
      for (const path of files) if (this.#images.has(await this.#ports.disks.identity(path))) this.#users.add(`domain ${name}: ${path}`);
      for (const path of heads) {
        await this.#walk(path, `domain ${name}`, new Set());
        if (!path.startsWith('/dev/')) directories.add(dirname(path));
      }
    }
    await this.#ownOtherDisks();
    for (const path of await this.#ports.disks.filesIn(this.#ports.fleets.root, true)) if (path.includes('.qcow2')) await this.#look(path);
    for (const directory of directories) for (const path of await this.#ports.disks.filesIn(directory, false)) await this.#look(path);
    return [...this.#users];
  }

  async #ownOtherDisks(): Promise<void> {
    const { domain, handle, targets } = this.#question;
    const xml = (await this.#ports.hypervisor.readXml([handle])).get(handle);
    if (xml === undefined) return;
    for (const { path, target } of imagesNamedIn(xml, `The XML of ${domain.name}`).heads)
      if (!targets.has(target)) await this.#walk(path, `disk ${target} of ${domain.name} itself`, new Set());
  }

  /** Down the chain of a domain's disk, as the headers say, whatever its XML spells out. */
  async #walk(path: string, user: string, visited: Set<string>): Promise<void> {
    const identity = await this.#ports.disks.identity(path);
    if (visited.has(identity)) return;
    visited.add(identity);
    if (this.#images.has(identity)) this.#users.add(`${user}: ${path}`);
    for (const below of await this.#below(path)) await this.#walk(below, user, visited);
  }

  /** A file that may stand on one of the images without being anybody's disk. */
  async #look(path: string): Promise<void> {
    // By its name: a relative backing file is looked for beside that.
    if (this.#seen.has(path)) return;
    this.#seen.add(path);
    for (const below of await this.#below(path)) {
      if (this.#images.has(await this.#ports.disks.identity(below))) this.#users.add(`file ${path}, whose backing file it is`);
    }
  }

  async #below(path: string): Promise<string[]> {
    if (this.#ours.has(await this.#ports.disks.identity(path))) return [];
    if ((await this.#ports.disks.obstacle(path, 'read')) === isNotThere) return [];
    try {
      return await this.#ports.disks.backingFiles(path);
    } catch {
      // Gone while we looked: others make and remove disks all the time.
      if ((await this.#ports.disks.obstacle(path, 'read')) === isNotThere) return [];
      // What cannot be read may stand on anything.
      this.#users.add(`file ${path} cannot be read: nobody can tell what it stands on`);
      return [];
    }
  }

  #identities(paths: readonly string[]): Promise<string[]> {
    return Promise.all(paths.map((path) => this.#ports.disks.identity(path)));
  }
}
