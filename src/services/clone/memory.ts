import { reportOf } from '../../core/errors.js';
import type { BaseImage } from '../../core/image/base.js';
import { opensReadOnly, withSharedMemory } from '../../core/memory/sharing.js';
import type { MemorySlot, Ports } from '../../ports/index.js';
import { assertChecks, checkMemory } from '../preflight/checks.js';
import { assertRoom } from '../preflight/disk-space.js';

/** QEMU's message if it cannot open or map the file of a memory backend. */
const unmapped = /can't open backing store [^:]*: (.*)|unable to map backing store.*|.*memory-backend-file.*/i;

/** QEMU ended so soon that libvirt could not read why: the next attempt may tell. */
const unheard = /monitor socket/;

/** Restores clones from the memory of a warm base. Must be closed. */
export class CloneMemory {
  readonly #ports: Ports;
  readonly #fleet: string;
  readonly #base: BaseImage;
  readonly #copies: number;
  readonly #count: number;
  /** Slots that no restore uses. */
  #idle: MemorySlot[] = [];
  readonly #slots: MemorySlot[] = [];
  /** Whether each clone gets a copy of the whole memory. */
  #isWhole: boolean;
  #room: Promise<void> | undefined;
  /** Limitations, as notes for the user. */
  readonly notes = new Set<string>();

  /** @param base a warm base image @param count of the clones @param copies how many of them are restored at the same time */
  constructor(ports: Ports, fleet: string, base: BaseImage, { count, copies }: { count: number; copies: number }) {
    this.#ports = ports;
    this.#fleet = fleet;
    this.#base = base;
    this.#copies = copies;
    this.#count = count;
    this.#isWhole = base.warm?.ram === undefined;
    const why = base.warm?.whole;
    if (why !== undefined) this.notes.add(`each clone has its own copy of the memory: ${why}`);
  }

  /** @throws PREFLIGHT_FAILED without space for the copies */
  async assertRoom(): Promise<void> {
    const { bytes = 0, ram } = this.#base.warm ?? {};
    const whole = this.#isWhole ? (ram?.allocatedBytes ?? 0) : 0;
    await assertRoom(this.#ports, this.#ports.fleets.root, this.#copies * (bytes + whole), 'Copying the memory for the clones');
  }

  /** Leaves the clone paused. @param xml its domain */
  async restore(name: string, xml: string): Promise<void> {
    for (let attempt = 1; !this.#isWhole; attempt++) {
      try {
        return await this.#restore(name, withSharedMemory(xml, this.#ram()), false);
      } catch (error) {
        const { message, details = [] } = reportOf(error);
        const told = [message, ...details].join('\n');
        const [whole, reason = whole] = unmapped.exec(told) ?? [];
        if (reason !== undefined) await this.#giveUpSharing(reason);
        // Unless another clone has been told the reason meanwhile.
        else if (!this.#isWhole && (attempt > 1 || !unheard.test(told))) throw error;
      }
    }
    await this.#room;
    await this.#restore(name, xml, true);
  }

  async close(): Promise<void> {
    for (const slot of this.#slots.splice(0)) await slot.discard();
  }

  #ram() {
    const { ram, hypervisor = '' } = this.#base.warm ?? {};
    return { path: this.#ports.memory.ramPath(this.#base), bytes: ram?.bytes ?? 0, isReadOnly: opensReadOnly(hypervisor) };
  }

  /** A security driver may deny QEMU the file: it is named on the command line only. */
  async #giveUpSharing(reason: string): Promise<void> {
    this.#isWhole = true;
    this.#idle = [];
    this.notes.add(`each clone has its own copy of the memory, since QEMU cannot map ${this.#ram().path}: ${reason}`);
    this.#room ??= this.#assertWhole();
    await this.#room;
  }

  /** @throws PREFLIGHT_FAILED if copies do not fit, on disk or in memory */
  async #assertWhole(): Promise<void> {
    const { memoryMiB = 0 } = this.#base.warm ?? {};
    assertChecks([await checkMemory(this.#ports, { starting: this.#count, creating: 0, memoryMiB, virtualBytes: 0 })], false);
    await this.assertRoom();
  }

  async #restore(name: string, xml: string, isWhole: boolean): Promise<void> {
    const { bytes = 0, ram } = this.#base.warm ?? {};
    const slot = this.#idle.pop() ?? (await this.#open(isWhole));
    await slot.become(xml);
    await this.#ports.hypervisor.restorePaused(name, slot.path, bytes + (isWhole ? (ram?.bytes ?? 0) : 0));
    // A slot is used again only after a successful restore: after a failure, libvirt may still read it.
    if (isWhole === this.#isWhole) this.#idle.push(slot);
  }

  async #open(isWhole: boolean): Promise<MemorySlot> {
    const slot = await this.#ports.memory.openSlot(this.#fleet, this.#base, isWhole);
    this.#slots.push(slot);
    return slot;
  }
}
