import { gunzipSync } from 'node:zlib';
import { domainRef } from '../../core/domain/domain-ref.js';
import { templateFromDomain } from '../../core/domain/template-from-domain.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { type DomainState, isOn } from '../../core/fleet/observation.js';
import { formatWaitFor } from '../../core/guest/stages.js';
import { type BaseImage, formatBaseRef } from '../../core/image/base.js';
import type { GivenSpec } from '../../core/spec/spec.js';
import type { Freeze, Ports } from '../../ports/index.js';
import { withFleetLock } from '../fleet/access.js';
import { sha256, type TemplateSource } from '../fleet/spawn/input/definitions.js';
import { maxNvramBytes } from '../fleet/spawn/input/inputs.js';
import { withSnapshotLock } from '../snapshot/access.js';
import { copySource, type FreezeOptions, type Taken } from './copy-source.js';
import { memoryDifferences } from './plan.js';
import { assertAlone, assertFreezable, type SourceIdentity } from './preflight.js';
import { findSource, isSaved, prepareSource, resumeSource } from './source-vm.js';

/** A running VM, frozen in a moment: its disk as a base image, and its memory beside it. */
export interface FrozenDomain {
  base: BaseImage;
  template: TemplateSource;
  spec: GivenSpec;
  /** sha256 of the memory. */
  warm: string;
  /** UEFI variables that its clones start with. */
  nvram: Buffer | undefined;
  notes: string[];
  /** Undoes the freeze: resumes the source VM and removes what was copied from it. */
  giveUp(): Promise<void>;
}

/** Freezes a running VM for a new fleet. libvirt keeps its memory while its disk is read (a managed save): even if this run is killed, the next start of the domain resumes it. What a killed run already copied is reused.
 * @throws BAD_USAGE, DOMAIN_NOT_FOUND, PREFLIGHT_FAILED, NOT_SUPPORTED: nothing was changed
 */
export async function freezeDomain(ports: Ports, options: FreezeOptions): Promise<FrozenDomain> {
  assertAlone(options);
  const { fleet, fromRunning = '' } = options;
  const begun = await ports.memory.readFreeze(fleet);
  const domain = await findSource(ports, fromRunning).catch((error: unknown) => {
    // Disk and memory are in the store: the source VM is no longer needed.
    if (begun?.taken !== undefined && reportOf(error).code === 'DOMAIN_NOT_FOUND') return undefined;
    throw error;
  });
  if (domain === undefined) return new Freezing(ports, options, undefined, begun).freeze();
  const mark = (await ports.hypervisor.readMarks([domainRef(domain)])).get(domainRef(domain));
  // The lock keeps other runs from freezing it or changing its disks.
  const work = (): Promise<FrozenDomain> =>
    withSnapshotLock(
      ports,
      domain.uuid,
      async () => {
        // Read its state again: it may have been frozen or resumed while this run waited for the lock.
        const now = await findSource(ports, domain.uuid);
        return new Freezing(ports, options, now, begun?.uuid === now.uuid ? begun : undefined).freeze();
      },
      domain.name,
    );
  if (mark === undefined || !(await ports.fleets.list()).includes(mark.fleet)) return work();
  if (mark.fleet === fleet) {
    throw new CowherdError('BAD_USAGE', `${domain.name} is a member of fleet ${fleet}`, {
      hint: 'Choose another name for the new fleet.',
    });
  }
  // The fleet lock prevents a reset while it is read.
  return withFleetLock(ports, mark.fleet, work);
}

class Freezing {
  /** Steps that undo what this run added to the store, run in reverse order. */
  readonly #undo: (() => Promise<unknown>)[] = [];
  /** Whether the managed save of the source VM was made for this spawn. Another one is left alone. */
  #isOurs: boolean;
  /** Whether disk and memory were already in the store when this run began: then they are kept in any case. */
  #isResumed = false;
  private readonly options: FreezeOptions;

  constructor(
    private readonly ports: Ports,
    options: FreezeOptions,
    private readonly domain: DomainState | undefined,
    private readonly begun: Freeze | undefined,
  ) {
    this.#isOurs = begun !== undefined;
    // What the killed run was allowed to share may already be in the store.
    this.options = { ...options, shareTpm: options.shareTpm === true || begun?.shareTpm === true };
  }

  async freeze(): Promise<FrozenDomain> {
    const { ports, options, begun } = this;
    const name = this.domain?.name ?? begun?.domain ?? '';
    const keepFrozen = options.keepFrozen === true;
    const found = await this.#takenBefore();
    const note = found === undefined ? await this.#stop() : undefined;
    try {
      const taken = found ?? (await this.#take(note));
      if (!keepFrozen) await this.#resumeSource();
      const base = await this.#recorded(taken);
      const { xml } = await ports.memory.read(ports.memory.path(base));
      const { template, spec, notes } = templateFromDomain(name, xml);
      return {
        base,
        template: { text: template, origin: `created from running domain ${name}`, digest: sha256(template) },
        // The format of the clones' disks is no part of the VM.
        spec: { ...spec, disks: taken.disks, overlay: options.spec?.overlay },
        warm: base.warm?.digest ?? '',
        nvram: taken.nvram === undefined ? undefined : gunzipSync(Buffer.from(taken.nvram, 'base64'), { maxOutputLength: maxNvramBytes }),
        notes: [
          `${formatBaseRef(base)} frozen from ${name}, which ${keepFrozen ? 'stays frozen: "virsh start" resumes it' : 'was resumed'}`,
          ...notes.map((text) => `${name}: ${text}`),
        ],
        giveUp: () => this.#giveUp(),
      };
    } catch (error) {
      await this.#giveUp();
      throw error;
    }
  }

  /** What a killed run already copied, if it is unchanged. */
  async #takenBefore(): Promise<Taken | undefined> {
    const { ports, options, begun } = this;
    if (begun?.taken === undefined) return undefined;
    const image = await ports.bases.get(begun.taken.base);
    const isWhole =
      image !== undefined &&
      (await ports.memory.read(ports.memory.path(image)).then(
        () => true,
        () => false,
      )) &&
      (await memoryDifferences(ports, image)).length === 0;
    if (!isWhole) {
      // The source VM is needed again: fail if it does not exist.
      if (this.domain === undefined) await findSource(ports, begun.uuid);
      return undefined;
    }
    options.onProgress?.({ kind: 'note', text: `Reusing disk and memory of ${begun.domain} from the interrupted run` });
    this.#isResumed = true;
    return { ...begun.taken, image };
  }

  /** Records the memory, unless it is already recorded and its seal was compared. */
  async #recorded({ image, facts, isShared = false }: Taken): Promise<BaseImage> {
    const { ports, options } = this;
    if (image.warm !== undefined) return image;
    return ports.bases.locked(() => ports.memory.record(image, facts, isShared, options.signal), options);
  }

  /** Saves the source VM with libvirt, unless a killed run already did. */
  async #stop(): Promise<Freeze> {
    const { ports, options, begun } = this;
    const domain = this.#source();
    const isFrozen = begun !== undefined && !isOn(domain) && (await isSaved(ports, domain));
    const self: SourceIdentity = isFrozen ? begun : await assertFreezable(ports, options, domain);
    const note = noteOf(ports, options, domain, self);
    await ports.memory.beginFreeze(options.fleet, note);
    if (isFrozen) return note;
    try {
      // Wait for other imports before the VM is paused.
      await ports.bases.locked(async () => undefined, options);
      options.onProgress?.({ kind: 'note', text: `Freezing ${domain.name}: it is paused while its disk is read` });
      await prepareSource(ports, domain, options.signal);
      await ports.hypervisor.saveManaged(domainRef(domain), note.memoryMiB * 2 ** 20);
      this.#isOurs = true;
    } catch (error) {
      // If libvirt did not answer, the save may still complete: resume checks again.
      if (!['TOOL_TIMEOUT', 'CONNECTION_FAILED'].includes(reportOf(error).code)) await this.#giveUp();
      throw error;
    }
    return note;
  }

  async #take(note: Freeze | undefined): Promise<Taken> {
    if (note === undefined) throw new Error('no freeze was recorded');
    return copySource(this.ports, this.options, this.#source().name, note, (undo) => this.#undo.push(undo));
  }

  #source(): DomainState {
    if (this.domain === undefined) throw new Error('no source VM');
    return this.domain;
  }

  async #resumeSource(): Promise<void> {
    if (this.#isOurs && this.domain !== undefined) await resumeSource(this.ports, this.domain, this.options.onProgress);
  }

  /** Failures of the undo are reported as notes: the original error is more important. */
  async #giveUp(): Promise<void> {
    const { ports, options } = this;
    const tell = (failure: unknown): void => options.onProgress?.({ kind: 'note', text: reportOf(failure).message });
    // Also with --keep-frozen: no fleet was created.
    const isSourceResumed = await this.#resumeSource().then(
      () => true,
      (failure: unknown) => {
        tell(failure);
        return false;
      },
    );
    if (this.#isResumed) {
      const text = `disk and memory of ${this.begun?.domain} are kept: "cowherd resume ${options.fleet}" uses them, "cowherd teardown ${options.fleet}" removes them`;
      options.onProgress?.({ kind: 'note', text });
      return;
    }
    for (const undo of this.#undo.splice(0).reverse()) await undo().catch(tell);
    // If the source VM was not resumed, keep the note: "cowherd resume" tries again.
    if (isSourceResumed) await ports.memory.endFreeze(options.fleet).catch(tell);
  }
}

function noteOf(ports: Pick<Ports, 'clock'>, options: FreezeOptions, domain: DomainState, self: SourceIdentity): Freeze {
  const { count, keepFrozen = false, shareTpm, start = true, wait, timeoutMs, concurrency, bootConcurrency, spec } = options;
  return {
    version: 1,
    domain: domain.name,
    uuid: domain.uuid,
    startedAt: ports.clock.now().toISOString(),
    ...{ count, keepFrozen, start, timeoutMs, concurrency, bootConcurrency, overlay: spec?.overlay },
    addresses: self.addresses,
    hostKeyTypes: self.hostKeyTypes,
    memoryMiB: self.memoryMiB,
    ...(shareTpm === true ? { shareTpm } : {}),
    ...(wait === undefined ? {} : { wait: formatWaitFor(wait) }),
  };
}
