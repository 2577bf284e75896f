import type { BaseImage } from '../../core/base.js';
import { memberDisks } from '../../core/disks.js';
import type { MemberDefinition } from '../../core/domain-xml.js';
import { CowherdError } from '../../core/errors.js';
import type { FleetRecord } from '../../core/fleet.js';
import type { MemberIdentity } from '../../core/identity.js';
import { isOn } from '../../core/observation.js';
import type { Unfinished } from '../../core/operation.js';
import { isForeign, type Plan } from '../../core/plan.js';
import type { MemorySlot, Ports } from '../../ports.js';
import { fixUpGuest } from '../fix-up.js';
import { defaultBootConcurrency, observeWithMarks, type WorkOptions } from '../fleet-access.js';
import { verifyRoom } from '../room.js';
import { verifiedWarmBase } from './clone-plan.js';

/** Members that go on from the memory of a golden VM instead of booting. */

/** How long one clone may take to become itself. Emulated, on a busy host, a guest's agent may be slow. */
const fixUpMs = 180_000;
const agentPauseMs = 300;

/** Clones that a run which was killed left half done may be the golden VM's doubles still: they are made anew. */
export async function discardHalfMade(ports: Ports, record: FleetRecord, { operation, done }: Unfinished): Promise<void> {
  const half = record.members.filter(({ index }) => operation.clones?.includes(index) === true && !done.has(index));
  if (half.length === 0) return;
  for (const member of await observeWithMarks(ports, { ...record, members: half })) {
    if (isForeign(member, record.id)) continue;
    if (isOn(member.domain)) await ports.hypervisor.destroy(member.name);
    await discardDisks(ports, record, member);
  }
}

function discardDisks(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: MemberIdentity): Promise<void> {
  const stems = memberDisks(record, member).map(({ stem }) => stem);
  return ports.fleets.removeMemberFiles(record.name, member.name, stems);
}

/** Makes clones. To be closed. */
export class Cloner {
  readonly #ports: Ports;
  readonly #record: FleetRecord;
  readonly #base: BaseImage;
  readonly #definitions: ReadonlyMap<string, MemberDefinition>;
  readonly #signal: AbortSignal | undefined;
  readonly #idle: MemorySlot[] = [];
  readonly #slots: MemorySlot[] = [];
  readonly #isCold: boolean;
  /** What members go without, for people. */
  readonly notes = new Set<string>();

  private constructor(
    ports: Ports,
    parts: { record: FleetRecord; base: BaseImage; definitions: ReadonlyMap<string, MemberDefinition>; why: string | undefined },
    signal: AbortSignal | undefined,
  ) {
    this.#ports = ports;
    this.#record = parts.record;
    this.#base = parts.base;
    this.#definitions = parts.definitions;
    this.#isCold = parts.why !== undefined;
    this.#signal = signal;
    if (parts.why !== undefined) this.notes.add(parts.why);
  }

  /**
   * @param definitions of the members that are made
   * @returns undefined where the plan makes no clones
   * @throws BASE_CHANGED, PREFLIGHT_FAILED without room for the copies
   */
  static async open(
    ports: Ports,
    record: FleetRecord,
    plan: Plan,
    definitions: ReadonlyMap<string, MemberDefinition>,
    { bootConcurrency = defaultBootConcurrency, signal }: WorkOptions,
  ): Promise<Cloner | undefined> {
    const count = plan.members.filter(({ steps }) => steps.includes('restore')).length;
    const base = count === 0 ? undefined : await verifiedWarmBase(ports, record);
    if (base?.warm === undefined) return undefined;
    const now = await ports.hypervisor.versions();
    const { libvirt, hypervisor, bytes } = base.warm;
    const why =
      now.libvirt === libvirt && now.hypervisor === hypervisor
        ? undefined
        : `clones were booted: their memory was frozen with libvirt ${libvirt} and ${hypervisor}, and these are ${now.libvirt} and ${now.hypervisor}`;
    const copies = why === undefined ? Math.min(count, bootConcurrency) : 0;
    await verifyRoom(ports, ports.fleets.root, copies * bytes, 'The copies of the memory that clones go on from');
    return new Cloner(ports, { record, base, definitions, why }, signal);
  }

  /**
   * Brings a member up from the golden VM's memory, as itself. One that does not become itself is ended, and its disk goes: it would be
   * the golden VM's double.
   */
  readonly clone = async (member: MemberIdentity): Promise<void> => {
    await this.#ports.fleets.prepareStart(this.#record.name, member.name);
    try {
      await this.#bringUp(member);
      await this.#makeItself(member);
    } catch (error) {
      await this.#ports.hypervisor.destroy(member.name);
      await discardDisks(this.#ports, this.#record, member);
      throw error;
    }
  };

  async close(): Promise<void> {
    for (const slot of this.#slots.splice(0)) await slot.discard();
  }

  /** It does not run, or has no link, before it is itself: nobody hears it speak with the golden VM's address. */
  async #bringUp(member: MemberIdentity): Promise<void> {
    const { hypervisor } = this.#ports;
    if (this.#isCold) {
      await hypervisor.start(member.name);
      await this.#setLinks(member, false);
      return;
    }
    const slot = this.#idle.pop() ?? (await this.#openSlot());
    try {
      const xml = this.#definitions.get(member.name)?.xml;
      if (xml === undefined) throw new Error(`no definition of ${member.name} was prepared`);
      await slot.become(xml);
      await hypervisor.restorePaused(member.name, slot.path);
    } finally {
      this.#idle.push(slot);
    }
    await this.#setLinks(member, false);
    await hypervisor.resume(member.name);
  }

  async #openSlot(): Promise<MemorySlot> {
    const slot = await this.#ports.memory.openSlot(this.#record.name, this.#base);
    this.#slots.push(slot);
    return slot;
  }

  async #setLinks(member: MemberIdentity, isUp: boolean): Promise<void> {
    for (const mac of this.#cards(member)) await this.#ports.hypervisor.setLink(member.name, mac, isUp);
  }

  /** A member has a MAC also where its domain has no card. */
  #cards({ macs }: MemberIdentity): string[] {
    return macs.slice(0, this.#base.warm?.macs.length ?? 0);
  }

  async #makeItself(member: MemberIdentity): Promise<void> {
    const { clock, seeds } = this.#ports;
    const deadline = clock.monotonic() + fixUpMs;
    const left = (): { timeoutMs: number; signal: AbortSignal | undefined } => ({
      timeoutMs: Math.max(1_000, deadline - clock.monotonic()),
      signal: this.#signal,
    });
    const cards = this.#cards(member);
    const golden = this.#base.warm?.macs ?? [];
    // A guest that booted has the MAC that its domain says.
    const macs = this.#isCold ? [] : cards.map((to, position) => ({ from: golden[position] ?? '', to }));
    const identity = { hostname: member.name, machineId: member.uuid.replaceAll('-', ''), macs, hostKeys: 'renew' as const };
    const renew = cards.length > 0;
    const self = await this.#untilHeard(deadline, () =>
      fixUpGuest(this.#ports, member.name, { clock: true, entropy: true, renew, identity }, left()),
    );
    await seeds.learnHost(this.#record.name, member.name, self.hostKeys);
    // That it has no link yet is our own doing.
    for (const note of self.notes.filter((text) => !text.includes('no link yet'))) this.notes.add(`in clones: ${note}`);
    await this.#setLinks(member, true);
    // Its client has asked without a link: now it is heard.
    if (renew) await fixUpGuest(this.#ports, member.name, { clock: false, entropy: false, renew }, left());
  }

  /** An agent that has just gone on may not answer at once, and one that boots takes its time. */
  async #untilHeard<T>(deadline: number, work: () => Promise<T>): Promise<T> {
    const { clock } = this.#ports;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const isSilent = error instanceof CowherdError && error.code === 'GUEST_UNREACHABLE';
        if (!isSilent || clock.monotonic() > deadline || this.#signal?.aborted === true) throw error;
        await clock.sleep(agentPauseMs, this.#signal);
      }
    }
  }
}
