import { CowherdError, reportOf } from '../../core/errors.js';
import { isOn } from '../../core/fleet/observation.js';
import { OpenElsewhere } from '../../core/image/open-elsewhere.js';
import { levelName, type SnapshotJournal } from '../../core/snapshot/snapshot.js';
import { sideOf, switchDisks } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';
import type { SnapshotContext, SnapshotOptions } from './access.js';
import { isDomainOn, shutDown } from './shut-down.js';

/**
 * Carries out what a journal says, from wherever an earlier run left it: the journal on disk, the domain off, new files made
 * and synced, one definition that turns the domain over, and then what is not needed any more. A failure before the definition
 * is undone, unless images were being merged; what is left after it, the same verb finishes.
 * @param assertUnused asked once more right before images are merged
 * @returns whether the domain was started again
 */
export async function carryOut(
  ports: Ports,
  sight: SnapshotContext,
  planned: SnapshotJournal,
  options: SnapshotOptions,
  assertUnused: () => Promise<void>,
): Promise<boolean> {
  const run = new Run(ports, sight, planned, options, assertUnused);
  return run.toTheEnd();
}

class Run {
  readonly #ports: Ports;
  readonly #assertUnused: () => Promise<void>;
  readonly #sight: SnapshotContext;
  readonly #options: SnapshotOptions;
  #journal: SnapshotJournal;

  constructor(ports: Ports, sight: SnapshotContext, journal: SnapshotJournal, options: SnapshotOptions, assertUnused: () => Promise<void>) {
    this.#ports = ports;
    this.#assertUnused = assertUnused;
    this.#sight = sight;
    this.#options = options;
    this.#journal = { ...journal, wasRunning: journal.wasRunning || isOn(sight.domain) };
  }

  async toTheEnd(): Promise<boolean> {
    if (this.#journal.isCleared === true) return this.#finish();
    if (sideOf(this.#sight.xml, this.#journal.switched) === 'after') {
      if (await this.#isOn()) await this.#assertRunsTurnedOver();
    } else {
      try {
        await this.#write(this.#journal);
        await this.#stop();
        await this.#prepare();
        await this.#turnOver();
      } catch (error) {
        throw await this.#afterFailure(error);
      }
    }
    try {
      await this.#clearUp();
    } catch (error) {
      throw this.#unfinished(error, 'The domain is turned over; the rest is left to do');
    }
    return this.#finish();
  }

  async #finish(): Promise<boolean> {
    try {
      return await this.#startAgain();
    } finally {
      // Only now: without it the same verb, given again after a crash, would be taken for another one.
      await this.#ports.snapshots.endJournal(this.#journal.uuid);
    }
  }

  /** Everything that the turned domain will need, on the disk. */
  async #prepare(): Promise<void> {
    const { snapshots, overlays } = this.#ports;
    const { create, saveNvram, merge } = this.#journal;
    if (this.#journal.verb === 'take') await this.#sealBacking();
    for (const { path, backing } of create) {
      await snapshots.makeRoom(path);
      await overlays.create(path, backing, this.#options.signal);
    }
    if (saveNvram !== undefined) {
      await snapshots.makeRoom(saveNvram.to);
      await snapshots.keep(saveNvram.from, saveNvram.to);
    }
    if (merge.length === 0) return;
    // Somebody may have come to stand on it since it was asked.
    await this.#assertUnused();
    const wasMerging = this.#journal.isMerging;
    await this.#write({ ...this.#journal, isMerging: true });
    for (const [position, { overlay, into }] of merge.entries()) {
      await this.#merge(overlay, into.path).catch(async (error: unknown) => {
        // Nothing was written where QEMU did not even get at it.
        if (position === 0 && !wasMerging && error instanceof OpenElsewhere) await this.#write({ ...this.#journal, isMerging: false });
        throw error;
      });
    }
  }

  /** What the new overlays stand on, now that nobody writes to it any more. */
  async #sealBacking(): Promise<void> {
    const [taken, ...lower] = [...this.#journal.after].reverse();
    if (taken === undefined) return;
    const disks = await Promise.all(
      taken.disks.map(async (disk) => {
        const { path, format } = disk.backing;
        if (format === 'qcow2' && (await this.#ports.disks.qcow2Header(path)).dirty) {
          throw new CowherdError('PREFLIGHT_FAILED', `${path} was not closed cleanly`, { hint: `Run "qemu-img check -r all ${path}".` });
        }
        const seal = await this.#ports.disks.seal(path);
        if (seal === undefined) throw new CowherdError('FILE_NOT_FOUND', `${path} is gone`, { hint: 'Bring it back.' });
        return { ...disk, seal };
      }),
    );
    await this.#write({ ...this.#journal, after: [...lower.reverse(), { ...taken, disks }] });
  }

  async #merge(overlay: string, into: string): Promise<void> {
    const { disks, overlays } = this.#ports;
    const totalBytes = (await disks.allocatedBytes(overlay)) ?? 0;
    const onPercent = (percent: number): void =>
      this.#options.onProgress?.({ kind: 'bytes', what: `committing into ${into}`, doneBytes: (totalBytes * percent) / 100, totalBytes });
    await overlays.commit(overlay, onPercent, this.#options.signal);
    await disks.sync(into);
  }

  async #turnOver(): Promise<void> {
    const { hypervisor, domains } = this.#ports;
    const { handle, domain } = this.#sight;
    const { switched } = this.#journal;
    // What a person has edited in the meantime is kept.
    const current = await domains.definition(handle);
    if (current === undefined || sideOf(current, switched) !== 'before') {
      throw new CowherdError('DOMAIN_CHANGED', `The disks of ${domain.name} were changed by somebody else meanwhile`, {
        hint: `Look at it with "virsh dumpxml --inactive ${domain.name}".`,
      });
    }
    await this.#assertOff();
    await hypervisor.define({ name: handle, xml: switchDisks(current, switched) });
    try {
      if (await this.#isOn()) await this.#assertRunsTurnedOver();
      const defined = await domains.definition(handle);
      if (defined === undefined || sideOf(defined, switched) !== 'after') {
        throw new CowherdError('DOMAIN_CHANGED', `libvirt did not take over the disks of ${domain.name} as they were given`, {
          hint: 'Please report it with the output of "virsh dumpxml --inactive".',
        });
      }
    } catch (error) {
      // It was started on the old disks in the very moment: they are what counts.
      await hypervisor.define({ name: handle, xml: current }).catch(() => undefined);
      throw error;
    }
  }

  async #clearUp(): Promise<void> {
    const { disks, snapshots } = this.#ports;
    const { uuid, after, restoreNvram, remove } = this.#journal;
    if (restoreNvram !== undefined && (await disks.seal(restoreNvram.from)) !== undefined) {
      // A domain that somebody started since writes to it.
      await this.#stop();
      await disks.replaceContent(restoreNvram.from, restoreNvram.to);
    }
    await snapshots.write({ version: 1, name: this.#sight.domain.name, uuid, levels: after });
    const kept = new Set(after.flatMap((level) => [level.nvram?.copy, ...level.disks.map(({ overlay }) => overlay)]));
    await snapshots.remove(
      uuid,
      remove.filter((path) => !kept.has(path)),
    );
    await this.#write({ ...this.#journal, isCleared: true });
  }

  async #afterFailure(error: unknown): Promise<unknown> {
    const { domains, snapshots } = this.#ports;
    const { isMerging, switched, create, saveNvram, uuid } = this.#journal;
    if (isMerging)
      return this.#unfinished(error, 'It stays off and on its overlays, which hold everything; the images below are partly merged');
    try {
      const xml = await domains.definition(this.#sight.handle);
      if (xml !== undefined && sideOf(xml, switched) === 'after')
        return this.#unfinished(error, 'The domain is turned over; the rest is left to do');
      await snapshots.remove(uuid, [...create.map(({ path }) => path), ...(saveNvram === undefined ? [] : [saveNvram.to])]);
      await snapshots.endJournal(uuid);
    } catch (second) {
      return this.#unfinished(error, `It could not be undone: ${reportOf(second).message}`);
    }
    // What it failed of is what the person is to hear of, not that it is off now.
    await this.#startAgain().catch((second: unknown) => this.#options.onProgress?.({ kind: 'note', text: reportOf(second).message }));
    return error;
  }

  #unfinished(error: unknown, state: string): unknown {
    if (!(error instanceof CowherdError)) return error;
    return new CowherdError(error.code, error.message, {
      details: [...error.details, `${state}.`, ...(error.hint === undefined ? [] : [error.hint])],
      hint: `Finish it with: cowherd snapshot ${this.#journal.verb} ${this.#sight.domain.name}`,
      cause: error,
    });
  }

  async #write(journal: SnapshotJournal): Promise<void> {
    await this.#ports.snapshots.writeJournal(journal);
    this.#journal = journal;
  }

  async #isOn(): Promise<boolean> {
    return isDomainOn(this.#ports, this.#sight);
  }

  async #assertOff(): Promise<void> {
    if (await this.#isOn()) {
      throw new CowherdError('DOMAIN_CHANGED', `${this.#sight.domain.name} was started by somebody else meanwhile`, {
        hint: 'Keep it off until the verb is done, then run it again.',
      });
    }
  }

  /** Started in the very moment it may run on the files that it was defined with before, and those must not go. */
  async #assertRunsTurnedOver(): Promise<void> {
    const { handle, domain } = this.#sight;
    const running = await this.#ports.domains.running(handle);
    if (running !== undefined && sideOf(running, this.#journal.switched) === 'after') return;
    throw new CowherdError(
      'DOMAIN_CHANGED',
      `${domain.name} was started by somebody else meanwhile, on other disks than its definition has`,
      {
        hint: `Shut it down, put the disks that it ran on back with "virsh edit ${domain.name}", and run this again.`,
      },
    );
  }

  async #stop(): Promise<void> {
    await shutDown(this.#ports, this.#sight, this.#options);
  }

  async #startAgain(): Promise<boolean> {
    if (this.#options.start === false || !this.#journal.wasRunning || (await this.#isOn())) return false;
    this.#options.onProgress?.({ kind: 'note', text: `Starting ${this.#sight.domain.name}` });
    try {
      await this.#ports.hypervisor.start(this.#sight.handle);
    } catch (error) {
      const { verb, level } = this.#journal;
      const { code, message, details = [] } = reportOf(error);
      throw new CowherdError(error instanceof CowherdError ? error.code : 'TOOL_FAILED', message, {
        details: [
          ...details,
          ...(code === 'BUG' ? [] : [`The domain is off. snapshot ${verb} of ${levelName(level)} is not left half done.`]),
        ],
        hint: `Start it with "virsh start ${this.#sight.domain.name}".`,
        cause: error,
      });
    }
    return true;
  }
}
