import { dirname } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { imagesNamedIn } from '../../core/foreign-domain.js';
import type { DomainState } from '../../core/observation.js';
import { isNotThere } from '../../core/snapshot.js';
import type { Ports } from '../../ports.js';

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
export async function verifyUnused(ports: Ports, question: Question): Promise<void> {
  const search = new Search(ports, question);
  const users = await search.run();
  if (users.length === 0) return;
  throw new CowherdError('IMAGE_IN_USE', `${question.images[0]} is used by others than ${question.domain.name}; nothing was changed`, {
    details: users,
    hint: 'Their content would become garbage. Give each a disk of its own first (qemu-img convert), or remove them.',
  });
}

/** Names of other domains that have an image as a disk of their own. */
export async function domainsWithDisk(ports: Ports, domain: DomainState, path: string): Promise<string[]> {
  const real = await ports.disks.realPath(path);
  const found: string[] = [];
  for (const [name, xml] of await otherDomains(ports, domain)) {
    const heads = await Promise.all(imagesNamedIn(xml, `The XML of ${name}`).heads.map((head) => ports.disks.realPath(head.path)));
    if (heads.includes(real)) found.push(name);
  }
  return found;
}

async function otherDomains(ports: Ports, { uuid }: DomainState): Promise<Map<string, string>> {
  const others = (await ports.hypervisor.listDomains()).filter((other) => other.uuid !== uuid);
  return ports.hypervisor.readXml(others.map(({ name }) => name));
}

class Search {
  readonly #ports: Ports;
  readonly #question: Question;
  readonly #users = new Set<string>();
  readonly #seen = new Set<string>();
  #images = new Set<string>();
  #ours = new Set<string>();

  constructor(ports: Ports, question: Question) {
    this.#ports = ports;
    this.#question = question;
  }

  async run(): Promise<string[]> {
    const { images, ours, domain } = this.#question;
    this.#images = new Set(await this.#realPaths(images));
    this.#ours = new Set(await this.#realPaths(ours));
    const directories = new Set([...this.#images].map(dirname));
    for (const [name, xml] of await otherDomains(this.#ports, domain)) {
      const { files, heads } = imagesNamedIn(xml, `The XML of ${name}`);
      for (const path of await this.#realPaths(files)) if (this.#images.has(path)) this.#users.add(`domain ${name}: ${path}`);
      for (const path of await this.#realPaths(heads.map((head) => head.path))) {
        await this.#walk(path, `domain ${name}`);
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
      if (!targets.has(target)) await this.#walk(await this.#ports.disks.realPath(path), `disk ${target} of ${domain.name} itself`);
  }

  /** Down the chain of a domain's disk, as the headers say, whatever its XML spells out. */
  async #walk(head: string, user: string): Promise<void> {
    const visited = new Set<string>();
    for (let path: string | undefined = head; path !== undefined && !visited.has(path); path = await this.#below(path)) {
      visited.add(path);
      if (this.#images.has(path)) this.#users.add(`${user}: ${path}`);
    }
  }

  /** A file that may stand on one of the images without being anybody's disk. */
  async #look(found: string): Promise<void> {
    const path = await this.#ports.disks.realPath(found);
    if (this.#seen.has(path) || this.#ours.has(path)) return;
    this.#seen.add(path);
    const below = await this.#below(path);
    if (below !== undefined && this.#images.has(below)) this.#users.add(`file ${path}, whose backing file it is`);
  }

  async #below(path: string): Promise<string | undefined> {
    if (this.#ours.has(path)) return undefined;
    if ((await this.#ports.disks.obstacle(path, 'read')) === isNotThere) return undefined;
    try {
      const name = await this.#ports.disks.backingName(path);
      if (name?.startsWith('json:')) return [...this.#images, ...this.#question.images].find((image) => name.includes(image));
      return name === undefined ? undefined : await this.#ports.disks.realPath(name);
    } catch {
      // What cannot be read may stand on anything.
      this.#users.add(`file ${path} cannot be read: nobody can tell what it stands on`);
      return undefined;
    }
  }

  #realPaths(paths: readonly string[]): Promise<string[]> {
    return Promise.all(paths.map((path) => this.#ports.disks.realPath(path)));
  }
}
