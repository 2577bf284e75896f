import type { MemberDefinition } from '../../core/domain/domain-xml.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import { isForeign } from '../../core/fleet/foreign-member.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { Plan } from '../../core/fleet/member-plan.js';
import { isOn } from '../../core/fleet/observation.js';
import type { Unfinished } from '../../core/fleet/operation.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { BaseImage } from '../../core/image/base.js';
import type { MemorySlot, Ports } from '../../ports/index.js';
import { defaultBootConcurrency, observeWithMarks, type WorkOptions } from '../fleet/access.js';
import { makeHostKeys } from '../guest/host-keys.js';
import { reidentifyGuest, untilHeard } from '../guest/reidentify.js';
import { assertRoom } from '../preflight/disk-space.js';
import { verifiedWarmBase } from './plan.js';

/** Members that go on from the memory of a golden VM instead of booting. */

/** How long one clone may take to become itself. Emulated, on a busy host, a guest's agent may be slow. */
const fixUpMs = 180_000;
/** DHCP clients that do not look whether there is a link. */
const deafClients: ReadonlySet<string> = new Set(['udhcpc', 'dhclient']);
/** How much longer where it boots first. */
const bootMs = 300_000;

/** Clones that a run which was killed left half done may be the golden VM's doubles still: they are made anew. */
export async function discardHalfMade(ports: Ports, record: FleetRecord, { operation, done }: Unfinished): Promise<void> {
  const unmade = record.spec.warm === undefined ? new Set() : await ports.fleets.listIdentityPending(record.name);
  const half = record.members.filter(({ index, name }) => operation.targets.includes(index) && !done.has(index) && unmade.has(name));
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
    await assertRoom(ports, ports.fleets.root, copies * bytes, 'The copies of the memory that clones go on from');
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
      await this.#end(member, error);
      throw error;
    }
  };

  /** Where that fails too, the note that it was not made itself stays: nobody starts it then. */
  async #end(member: MemberIdentity, cause: unknown): Promise<void> {
    try {
      await this.#ports.hypervisor.destroy(member.name);
      await discardDisks(this.#ports, this.#record, member);
    } catch (error) {
      const { message, details = [] } = reportOf(cause);
      throw new CowherdError('NOT_READY', message, {
        details: [...details, `and it could not be ended: ${reportOf(error).message}`],
        hint: `It is the golden VM's double. End it: virsh destroy ${member.name}; then: cowherd reset ${this.#record.name} ${member.index} --start all`,
        cause,
      });
    }
  }

  async close(): Promise<void> {
    for (const slot of this.#slots.splice(0)) await slot.discard();
  }

  /** It does not run, or has no link, before it is itself: nobody hears it speak with the golden VM's address. */
  async #bringUp(member: MemberIdentity): Promise<void> {
    const { hypervisor } = this.#ports;
    if (this.#isCold) await hypervisor.startPaused(member.name);
    else await this.#restore(member);
    await this.#setLinks(member, false);
    await hypervisor.resume(member.name);
  }

  async #restore(member: MemberIdentity): Promise<void> {
    const slot = this.#idle.pop() ?? (await this.#openSlot());
    const xml = this.#definitions.get(member.name)?.xml;
    if (xml === undefined) throw new Error(`no definition of ${member.name} was prepared`);
    await slot.become(xml);
    await this.#ports.hypervisor.restorePaused(member.name, slot.path, this.#base.warm?.bytes ?? 0);
    // After a restore that failed libvirt may be about to read it still.
    this.#idle.push(slot);
  }

  async #openSlot(): Promise<MemorySlot> {
    const slot = await this.#ports.memory.openSlot(this.#record.name, this.#base);
    this.#slots.push(slot);
    return slot;
  }

  /** Those that the golden VM's owner had put down stay so. */
  async #setLinks(member: MemberIdentity, isUp: boolean): Promise<void> {
    for (const card of this.#cards(member).filter((one) => one.isUp)) await this.#ports.hypervisor.setLink(member.name, card.to, isUp);
  }

  /** The golden VM's cards, and which MACs the member's have. A member has a MAC also where its domain has no card. */
  #cards({ macs }: MemberIdentity): { from: string; to: string; isUp: boolean }[] {
    return (this.#base.warm?.cards ?? []).map(({ mac, isUp }, position) => ({ from: mac, to: macs[position] ?? '', isUp }));
  }

  async #makeItself(member: MemberIdentity): Promise<void> {
    const { clock, seeds } = this.#ports;
    const deadline = clock.monotonic() + (this.#isCold ? bootMs : 0) + fixUpMs;
    const left = (): { timeoutMs: number; signal: AbortSignal | undefined } => ({
      timeoutMs: Math.max(1_000, deadline - clock.monotonic()),
      signal: this.#signal,
    });
    const cards = this.#cards(member);
    const identity = {
      hostname: member.name,
      machineId: member.uuid.replaceAll('-', ''),
      // A guest that booted has them already; its settings may name the golden VM's.
      macs: cards.map(({ from, to }) => ({ from, to })),
      hostKeys: 'renew' as const,
      newHostKeys: await makeHostKeys(this.#base.warm?.hostKeyTypes ?? []),
      formerAddresses: this.#base.warm?.addresses ?? [],
    };
    const renew = cards.length > 0;
    const fix = { clock: true, entropy: true, renew, identity };
    const self = await untilHeard(clock, deadline, () => reidentifyGuest(this.#ports, member.name, fix, left()), this.#signal);
    await seeds.learnHost(this.#record.name, member.name, self.hostKeys);
    // That it has no link yet is our own doing.
    for (const note of self.notes.filter((text) => !text.includes('no link yet'))) this.notes.add(`in clones: ${note}`);
    await this.#setLinks(member, true);
    // Others ask again by themselves when there is a link.
    const mustBeAsked = self.dhcpClients.some((client) => deafClients.has(client));
    if (renew && mustBeAsked) await reidentifyGuest(this.#ports, member.name, { clock: false, entropy: false, renew }, left());
    await this.#ports.fleets.markMade(this.#record.name, member.name);
  }
}
