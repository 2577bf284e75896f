import { type BaseImage, formatBaseRef, sealDifferences } from '../../core/base.js';
import { baseKey } from '../../core/base-chain.js';
import { templateFromDomain } from '../../core/domain-template.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { baseNameFromFile } from '../../core/names.js';
import { type DomainState, isOn } from '../../core/observation.js';
import type { DiskSpec, GivenSpec } from '../../core/spec.js';
import { formatWaitFor } from '../../core/stages.js';
import { attribute, element, parseXml } from '../../core/xml-tree.js';
import type { Freeze, Ports } from '../../ports.js';
import { removeBase } from '../bases.js';
import { sha256, type TemplateSource } from '../definitions.js';
import { withFleetLock } from '../fleet-access.js';
import { handleOf, withSnapshotLock } from '../snapshots/access.js';
import type { SpawnOptions } from '../spawn.js';
import { importBase } from '../spawn-inputs.js';
import { memoryDifferences } from './clone-plan.js';
import { verifyAlone, verifyCloneable, verifyFreezable, verifyUnused } from './freezable.js';

/** A running VM, frozen in a moment: its disk as a base image, and its memory beside it. */
export interface FrozenDomain {
  base: BaseImage;
  template: TemplateSource;
  spec: GivenSpec;
  /** sha256 of the memory. */
  warm: string;
  notes: string[];
  /** Where nothing comes of it: the golden VM goes on, and what was taken for it goes. */
  giveUp(): Promise<void>;
}

/** What is in the store once the golden VM may go on. */
type Taken = NonNullable<Freeze['taken']> & { image: BaseImage };

/**
 * Freezes a running VM for a new fleet. libvirt itself keeps its memory while its disk is read (a managed save), so whatever ends this
 * run, the next start of that domain goes on where it was. Of a run that was killed, what it had taken already is used.
 * @throws BAD_USAGE, DOMAIN_NOT_FOUND, PREFLIGHT_FAILED, NOT_SUPPORTED: nothing was changed
 */
export async function freezeDomain(ports: Ports, options: SpawnOptions & { count: number }): Promise<FrozenDomain> {
  verifyAlone(options);
  const name = options.fromRunning ?? '';
  const begun = await ports.memory.readFreeze(options.fleet);
  const domain = (await ports.hypervisor.listDomains()).find((one) => one.name === name || one.uuid === name);
  if (domain === undefined) {
    throw new CowherdError('DOMAIN_NOT_FOUND', `There is no domain ${name} at ${ports.hypervisor.uri}`, {
      hint: `See which there are: virsh -c ${ports.hypervisor.uri} list`,
    });
  }
  const mark = (await ports.hypervisor.readMarks([handleOf(domain)])).get(handleOf(domain));
  // Nobody else freezes it, or changes its disks, at the same time.
  const work = (): Promise<FrozenDomain> =>
    withSnapshotLock(
      ports,
      domain.uuid,
      async () => {
        // Once more: it may have been frozen, or have gone on, while we waited for the lock.
        const now = (await ports.hypervisor.listDomains()).find(({ uuid }) => uuid === domain.uuid) ?? domain;
        return new Freezing(ports, options, now).freeze(begun?.uuid === now.uuid ? begun : undefined);
      },
      domain.name,
    );
  if (mark === undefined || !(await ports.fleets.list()).includes(mark.fleet)) return work();
  if (mark.fleet === options.fleet) {
    throw new CowherdError('BAD_USAGE', `${name} is a member of fleet ${mark.fleet} itself`, {
      hint: 'Choose another name for the new fleet.',
    });
  }
  // Nobody resets it while it is read.
  return withFleetLock(ports, mark.fleet, work);
}

class Freezing {
  /** Base images that this run brought into the store. */
  readonly #imported: BaseImage[] = [];
  /** What a memory was put beside. */
  #warmed: BaseImage | undefined;
  /** Whether the memory that libvirt keeps of the golden VM is this spawn's to go on from: somebody else's is left alone. */
  #isOurs = false;
  readonly #note: Freeze;

  constructor(
    private readonly ports: Ports,
    private readonly options: SpawnOptions & { count: number },
    private readonly domain: DomainState,
  ) {
    const { count, keepFrozen = false, start = true, wait, timeoutMs, concurrency, bootConcurrency } = options;
    this.#note = {
      version: 1,
      domain: domain.name,
      uuid: domain.uuid,
      startedAt: ports.clock.now().toISOString(),
      ...{ count, keepFrozen, start, timeoutMs, concurrency, bootConcurrency },
      ...(wait === undefined ? {} : { wait: formatWaitFor(wait) }),
    };
  }

  async freeze(begun: Freeze | undefined): Promise<FrozenDomain> {
    const { ports, options, domain } = this;
    const { keepFrozen } = this.#note;
    this.#isOurs = begun !== undefined;
    const found = await this.#takenBefore(begun);
    if (found === undefined) {
      const isFrozen = begun !== undefined && !isOn(domain) && (await this.#isSaved());
      if (!isFrozen) await verifyFreezable(ports, options, domain);
      await ports.memory.beginFreeze(options.fleet, this.#note);
      if (!isFrozen) await this.#save();
    }
    try {
      const taken = found ?? (await this.#take());
      if (!keepFrozen) await this.#goOn();
      const base = await this.#recorded(taken);
      const { xml } = await ports.memory.read(ports.memory.path(base));
      const { template, spec, notes } = templateFromDomain(domain.name, xml);
      return {
        base,
        template: { text: template, origin: `made of running domain ${domain.name}`, digest: sha256(template) },
        spec: { ...spec, disks: taken.disks },
        warm: base.warm?.digest ?? '',
        notes: [
          `${formatBaseRef(base)} frozen from ${domain.name}, which ${keepFrozen ? 'stays frozen: "virsh start" lets it go on' : 'goes on'}`,
          ...notes.map((note) => `${domain.name}: ${note}`),
        ],
        giveUp: () => this.#giveUp(),
      };
    } catch (error) {
      await this.#giveUp();
      throw error;
    }
  }

  /** Of a run that was killed after it: used, as long as nothing of it was changed or removed since. */
  async #takenBefore(begun: Freeze | undefined): Promise<Taken | undefined> {
    const { ports, options } = this;
    if (begun?.taken === undefined) return undefined;
    const image = await ports.bases.get(begun.taken.base);
    if (image === undefined) return undefined;
    const isWhole = await ports.memory.read(ports.memory.path(image)).then(
      () => true,
      () => false,
    );
    if (!isWhole || (await memoryDifferences(ports, image)).length > 0) return undefined;
    options.onProgress?.({ kind: 'note', text: `${begun.domain} was frozen already: that is gone on with` });
    this.#imported.push(image);
    return { ...begun.taken, image };
  }

  /** One that is recorded already is not vouched for anew: its seal was compared. */
  async #recorded({ image, facts }: Taken): Promise<BaseImage> {
    const { ports, options } = this;
    if (image.warm !== undefined) return image;
    return ports.bases.locked(() => ports.memory.record(image, facts, options.signal), options.signal);
  }

  async #save(): Promise<void> {
    const { ports, domain, options } = this;
    options.onProgress?.({ kind: 'note', text: `freezing ${domain.name}: it stands still while its disk is read` });
    try {
      await ports.hypervisor.saveManaged(handleOf(domain));
      this.#isOurs = true;
    } catch (error) {
      // Where nobody answered it may be saved yet: resume looks again.
      if (!['TOOL_TIMEOUT', 'CONNECTION_FAILED'].includes(reportOf(error).code)) await this.#giveUp();
      throw error;
    }
  }

  async #take(): Promise<Taken> {
    const { ports, domain, options } = this;
    const versions = await ports.hypervisor.versions();
    const file = ports.memory.managedSave(domain.name);
    const saved = await ports.disks.seal(file);
    const { xml, wasRunning } = await ports.memory.read(file);
    if (!wasRunning) throw new CowherdError('PREFLIGHT_FAILED', `${domain.name} was not running when it was saved`, { hint: 'Start it.' });
    const { template, disks, spec, nvram } = templateFromDomain(domain.name, xml);
    verifyCloneable(ports, domain.name, template, spec, nvram);
    const baseName = baseNameFromFile(`${domain.name}.xml`) ?? 'domain';
    const images: BaseImage[] = [];
    for (const [position, { target, path, format }] of disks.entries())
      images.push(await this.#import(path, format, position === 0 ? baseName : `${baseName.slice(0, 34)}-${target}`));
    const [image] = images;
    if (image === undefined) throw new Error('a template was made of a domain without disks');
    const further = disks.slice(1).map(({ target, bus }, position): DiskSpec => {
      const { name, digest } = images[position + 1] ?? image;
      return { name: target, bus, base: { name, digest } };
    });
    const facts = {
      takenAt: ports.clock.now().toISOString(),
      domain: domain.name,
      macs: macsIn(xml),
      memoryMiB: spec.memoryMiB,
      machine: attribute(element(parseXml(xml, domain.name), 'os', 'type'), 'machine') ?? '',
      ...versions,
    };
    const taken = { base: { name: image.name, digest: image.digest }, disks: further, facts };
    return ports.bases.locked(async () => {
      // Nobody stands on it yet: it may have been removed since.
      const there = await ports.bases.get(image);
      if (there === undefined)
        throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(image)} was removed by another run`, {
          hint: 'Run this again.',
        });
      await verifyUnused(ports, there, options.fleet);
      this.#warmed = there;
      await ports.memory.take(there, file);
      // Of another moment than the disks, if somebody let it go on and it was saved again meanwhile.
      const now = await ports.disks.seal(file);
      if (saved === undefined || now === undefined || sealDifferences(saved, now).length > 0) {
        throw new CowherdError('BASE_CHANGED', `${domain.name} went on while its disk was read`, {
          hint: 'Somebody started it, or saved it anew: its memory and its disk are not of one moment. Run this again.',
        });
      }
      await ports.memory.beginFreeze(options.fleet, { ...this.#note, taken });
      const { warm: _warm, ...cold } = there;
      return { ...taken, image: cold };
    }, options.signal);
  }

  async #import(path: string, format: 'qcow2' | 'raw', baseName: string): Promise<BaseImage> {
    const { ports, options } = this;
    const before = new Set((await ports.bases.list()).bases.map(baseKey));
    const { base } = await importBase(ports, path, { ...options, trustChain: true, format, baseName });
    if (!before.has(baseKey(base))) this.#imported.push(base);
    return base;
  }

  async #isSaved(): Promise<boolean> {
    return (await this.ports.hypervisor.listSaved()).has(this.domain.name);
  }

  /** Only from its saved memory: one that somebody switched off stays off. */
  async #goOn(): Promise<void> {
    const { hypervisor } = this.ports;
    if (this.#isOurs && (await this.#isSaved())) await hypervisor.start(handleOf(this.domain));
  }

  /** The error before it is what people must hear; what cannot be taken back is told as a note. */
  async #giveUp(): Promise<void> {
    const { ports, options } = this;
    const tell = (failure: unknown): void => options.onProgress?.({ kind: 'note', text: reportOf(failure).message });
    // Also one that was to stay frozen: nothing came of it.
    const goesOn = await this.#goOn().then(
      () => true,
      (failure: unknown) => {
        tell(failure);
        return false;
      },
    );
    const warmed = this.#warmed;
    if (warmed !== undefined) await ports.bases.locked(() => ports.memory.drop(warmed)).catch(tell);
    for (const image of this.#imported) await removeBase(ports, formatBaseRef(image), options.fleet).catch(tell);
    // As long as the golden VM does not go on, resume is to see to it.
    if (goesOn) await ports.memory.endFreeze(options.fleet).catch(tell);
  }
}

function macsIn(xml: string): string[] {
  return [...xml.matchAll(/<mac address=['"]([0-9a-fA-F:]{17})['"]/g)].map((match) => (match[1] ?? '').toLowerCase());
}
