import { virshWord } from '../../core/domain/domain-ref.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { isOn } from '../../core/fleet/observation.js';
import { OpenElsewhere } from '../../core/image/open-elsewhere.js';
import { shellWord } from '../../core/quoting.js';
import { levelName, type SnapshotJournal } from '../../core/snapshot/snapshot.js';
import { sideOf, switchDisks } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';
import type { SnapshotContext, SnapshotOptions } from './access.js';
import { isDomainOn, shutDown } from './shut-down.js';

/** Executes a journal, also one that an earlier run left: writes the journal, stops the domain, creates and syncs new files, switches the domain with one definition, then removes unneeded files. A failure before the switch is undone, unless images were being merged. After the switch, the same verb completes it.
 * @param assertUnused called again right before images are merged
 * @returns whether the domain was started again
 */
export async function execute(
  ports: Ports,
  context: SnapshotContext,
  planned: SnapshotJournal,
  options: SnapshotOptions,
  assertUnused: () => Promise<void>,
): Promise<boolean> {
  return new Run(ports, context, planned, options, assertUnused).execute();
}

class Run {
  #journal: SnapshotJournal;

  constructor(
    private readonly ports: Ports,
    private readonly context: SnapshotContext,
    journal: SnapshotJournal,
    private readonly options: SnapshotOptions,
    private readonly assertUnused: () => Promise<void>,
  ) {
    this.#journal = { ...journal, wasRunning: journal.wasRunning || isOn(context.domain) };
  }

  async execute(): Promise<boolean> {
    if (this.#journal.isCleared === true) return this.#finish();
    if (sideOf(this.context.xml, this.#journal.switched) === 'after') {
      if (await this.#isOn()) await this.#assertRunsSwitched();
    } else {
      try {
        await this.#write(this.#journal);
        await this.#stop();
        await this.#prepare();
        await this.#switchDomain();
      } catch (error) {
        throw await this.#afterFailure(error);
      }
    }
    try {
      await this.#clearUp();
    } catch (error) {
      throw this.#unfinished(error, 'The domain was switched; the cleanup is not complete');
    }
    return this.#finish();
  }

  async #finish(): Promise<boolean> {
    try {
      return await this.#startAgain();
    } finally {
      // Remove the journal last: without it, repeating the verb after a crash would start a new operation.
      await this.ports.snapshots.endJournal(this.#journal.uuid);
    }
  }

  /** Creates all files that the switched domain needs. */
  async #prepare(): Promise<void> {
    const { snapshots, snapshotOverlays } = this.ports;
    const { create, saveNvram, merge } = this.#journal;
    if (this.#journal.verb === 'take') await this.#sealBacking();
    for (const { path, backing } of create) {
      await snapshots.makeRoom(path);
      await snapshotOverlays.create(path, backing, this.options.signal);
    }
    if (saveNvram !== undefined) {
      await snapshots.makeRoom(saveNvram.to);
      await snapshots.keep(saveNvram.from, saveNvram.to);
    }
    if (merge.length === 0) return;
    // Check again: a new user may have appeared meanwhile.
    await this.assertUnused();
    const wasMerging = this.#journal.isMerging;
    await this.#write({ ...this.#journal, isMerging: true });
    for (const [position, { overlay, into }] of merge.entries()) {
      await this.#merge(overlay, into.path).catch(async (error: unknown) => {
        // If QEMU could not open the image, nothing was written.
        if (position === 0 && !wasMerging && error instanceof OpenElsewhere) await this.#write({ ...this.#journal, isMerging: false });
        throw error;
      });
    }
  }

  /** Records the seals of the new overlays' backing files; the domain is stopped. */
  async #sealBacking(): Promise<void> {
    const [taken, ...lower] = [...this.#journal.after].reverse();
    if (taken === undefined) return;
    const disks = await Promise.all(
      taken.disks.map(async (disk) => {
        const { path, format } = disk.backing;
        if (format === 'qcow2' && (await this.ports.disks.qcow2Header(path)).dirty) {
          throw new CowherdError('PREFLIGHT_FAILED', `${path} was not closed cleanly`, {
            hint: `Repair it: qemu-img check -r all ${shellWord(path)}`,
          });
        }
        const seal = await this.ports.disks.seal(path);
        if (seal === undefined) throw new CowherdError('FILE_NOT_FOUND', `${path} is missing`, { hint: 'Restore the file.' });
        return { ...disk, seal };
      }),
    );
    await this.#write({ ...this.#journal, after: [...lower.reverse(), { ...taken, disks }] });
  }

  async #merge(overlay: string, into: string): Promise<void> {
    const { disks, snapshotOverlays } = this.ports;
    const totalBytes = (await disks.allocatedBytes(overlay)) ?? 0;
    const onPercent = (percent: number): void =>
      this.options.onProgress?.({ kind: 'bytes', what: `committing into ${into}`, doneBytes: (totalBytes * percent) / 100, totalBytes });
    await snapshotOverlays.commit(overlay, onPercent, this.options.signal);
    await disks.sync(into);
  }

  async #switchDomain(): Promise<void> {
    const { hypervisor, domains } = this.ports;
    const { ref, domain } = this.context;
    const { switched } = this.#journal;
    // Keep other changes that were made to the definition meanwhile.
    const current = await domains.definition(ref);
    if (current === undefined || sideOf(current, switched) !== 'before') {
      throw new CowherdError('DOMAIN_CHANGED', `The disks of ${domain.name} were changed by another program meanwhile`, {
        hint: `See its definition: virsh dumpxml --inactive ${virshWord(domain)}`,
      });
    }
    await this.#assertOff();
    await hypervisor.define({ name: ref, xml: switchDisks(current, switched) });
    try {
      if (await this.#isOn()) await this.#assertRunsSwitched();
      const defined = await domains.definition(ref);
      if (defined === undefined || sideOf(defined, switched) !== 'after') {
        throw new CowherdError('DOMAIN_CHANGED', `libvirt did not define the disks of ${domain.name} as requested`, {
          hint: 'Please report it with the output of "virsh dumpxml --inactive".',
        });
      }
    } catch (error) {
      // The domain was started with the old disks at the same moment: restore the old definition.
      await hypervisor.define({ name: ref, xml: current }).catch(() => undefined);
      throw error;
    }
  }

  async #clearUp(): Promise<void> {
    const { disks, snapshots } = this.ports;
    const { uuid, after, restoreNvram, remove } = this.#journal;
    if (restoreNvram !== undefined && (await disks.seal(restoreNvram.from)) !== undefined) {
      // A domain that was started meanwhile would write to the NVRAM.
      await this.#stop();
      await disks.replaceContent(restoreNvram.from, restoreNvram.to);
    }
    await snapshots.write({ version: 1, name: this.context.domain.name, uuid, levels: after });
    const kept = new Set(after.flatMap((level) => [level.nvram?.copy, ...level.disks.map(({ overlay }) => overlay)]));
    await snapshots.remove(
      uuid,
      remove.filter((path) => !kept.has(path)),
    );
    await this.#write({ ...this.#journal, isCleared: true });
  }

  async #afterFailure(error: unknown): Promise<unknown> {
    const { domains, snapshots } = this.ports;
    const { isMerging, switched, create, saveNvram, uuid } = this.#journal;
    if (isMerging)
      return this.#unfinished(error, 'The domain stays stopped on its overlays, which are complete; the backing images are partly merged');
    try {
      const xml = await domains.definition(this.context.ref);
      if (xml !== undefined && sideOf(xml, switched) === 'after')
        return this.#unfinished(error, 'The domain was switched; the cleanup is not complete');
      await snapshots.remove(uuid, [...create.map(({ path }) => path), ...(saveNvram === undefined ? [] : [saveNvram.to])]);
      await snapshots.endJournal(uuid);
    } catch (second) {
      return this.#unfinished(error, `It could not be undone: ${reportOf(second).message}`);
    }
    // A failed start is only a note.
    await this.#startAgain().catch((second: unknown) => this.options.onProgress?.({ kind: 'note', text: reportOf(second).message }));
    return error;
  }

  #unfinished(error: unknown, state: string): unknown {
    if (!(error instanceof CowherdError)) return error;
    return new CowherdError(error.code, error.message, {
      details: [...error.details, `${state}.`, ...(error.hint === undefined ? [] : [error.hint])],
      hint: `Finish it: cowherd snapshot ${this.#journal.verb} ${shellWord(this.context.domain.name)}`,
      cause: error,
    });
  }

  async #write(journal: SnapshotJournal): Promise<void> {
    await this.ports.snapshots.writeJournal(journal);
    this.#journal = journal;
  }

  async #isOn(): Promise<boolean> {
    return isDomainOn(this.ports, this.context);
  }

  async #assertOff(): Promise<void> {
    if (await this.#isOn()) {
      throw new CowherdError('DOMAIN_CHANGED', `${this.context.domain.name} was started by another program meanwhile`, {
        hint: 'Shut it down and keep it off, then run the same command again.',
      });
    }
  }

  /** If the domain was started at the same moment, it may use the old files, which must not be removed. */
  async #assertRunsSwitched(): Promise<void> {
    const { ref, domain } = this.context;
    const running = await this.ports.domains.running(ref);
    if (running !== undefined && sideOf(running, this.#journal.switched) === 'after') return;
    throw new CowherdError(
      'DOMAIN_CHANGED',
      `${domain.name} was started by another program meanwhile, with other disks than in its definition`,
      {
        hint: `Shut it down, put the disks that it was using back into its definition with "virsh edit ${virshWord(domain)}", and run the same command again.`,
      },
    );
  }

  async #stop(): Promise<void> {
    await shutDown(this.ports, this.context, this.options);
  }

  async #startAgain(): Promise<boolean> {
    if (this.options.start === false || !this.#journal.wasRunning || (await this.#isOn())) return false;
    this.options.onProgress?.({ kind: 'note', text: `Starting ${this.context.domain.name}` });
    try {
      await this.ports.hypervisor.start(this.context.ref);
    } catch (error) {
      const { verb, level } = this.#journal;
      const { code, message, details = [] } = reportOf(error);
      throw new CowherdError(error instanceof CowherdError ? error.code : 'TOOL_FAILED', message, {
        details: [...details, ...(code === 'BUG' ? [] : [`The domain is stopped. snapshot ${verb} of ${levelName(level)} is complete.`])],
        hint: `Start it: virsh start ${virshWord(this.context.domain)}`,
        cause: error,
      });
    }
    return true;
  }
}
