import { dirname } from 'node:path';
import { imagesNamedIn, imagesPrintedIn } from '../../core/domain/foreign-domain.js';
import { CowherdError } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';
import { isNotThere } from '../../core/snapshot/snapshot.js';
import type { Ports } from '../../ports/index.js';

/** Finds other users of an image: domains, by their XML and the headers of their disks; files of the store and of the image's directory. */

interface Question {
  /** Images to write or remove. */
  images: readonly string[];
  /** The domain of the operation and its disks that the operation handles. */
  domain: DomainState;
  ref: string;
  targets: ReadonlySet<string>;
  /** Overlays that may use the images, because the operation handles them. */
  ours: readonly string[];
}

/** @throws IMAGE_IN_USE, naming all users */
export async function assertUnused(ports: Ports, question: Question): Promise<void> {
  const users = await findUsers(ports, question);
  if (users.length === 0) return;
  throw new CowherdError('IMAGE_IN_USE', `${question.images[0]} is in use by others than ${question.domain.name}; nothing was changed`, {
    details: users,
    hint: 'Their content would be corrupted. Make their disks independent first (qemu-img convert), or remove them.',
  });
}

/** @returns other users of the images, in words */
export function findUsers(ports: Ports, question: Question): Promise<string[]> {
  return new Search(ports, question).run();
}

/** Names of other domains that use an image as a disk. */
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
  // By UUID: virsh reads a numeric name as the id of a running domain.
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
  /** File identities. */
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
    const { domain, ref, targets } = this.#question;
    const xml = (await this.#ports.hypervisor.readXml([ref])).get(ref);
    if (xml === undefined) return;
    for (const { path, target } of imagesNamedIn(xml, `The XML of ${domain.name}`).heads)
      if (!targets.has(target)) await this.#walk(path, `another disk of ${domain.name} (${target})`, new Set());
  }

  /** Follows the backing chain of a domain's disk by the headers, not by its XML. */
  async #walk(path: string, user: string, visited: Set<string>): Promise<void> {
    const identity = await this.#ports.disks.identity(path);
    if (visited.has(identity)) return;
    visited.add(identity);
    if (this.#images.has(identity)) this.#users.add(`${user}: ${path}`);
    for (const below of await this.#below(path)) await this.#walk(below, user, visited);
  }

  /** Checks a file that may be based on one of the images without being a disk of a domain. */
  async #look(path: string): Promise<void> {
    // By path, since relative backing files are resolved from it.
    if (this.#seen.has(path)) return;
    this.#seen.add(path);
    for (const below of await this.#below(path)) {
      if (this.#images.has(await this.#ports.disks.identity(below))) this.#users.add(`file ${path}, which uses it as backing file`);
    }
  }

  async #below(path: string): Promise<string[]> {
    if (this.#ours.has(await this.#ports.disks.identity(path))) return [];
    if ((await this.#ports.disks.obstacle(path, 'read')) === isNotThere) return [];
    try {
      return await this.#ports.disks.backingFiles(path);
    } catch {
      // Removed meanwhile by another program.
      if ((await this.#ports.disks.obstacle(path, 'read')) === isNotThere) return [];
      // An unreadable file may use any image.
      this.#users.add(`file ${path} cannot be read: its backing file is unknown`);
      return [];
    }
  }

  #identities(paths: readonly string[]): Promise<string[]> {
    return Promise.all(paths.map((path) => this.#ports.disks.identity(path)));
  }
}
