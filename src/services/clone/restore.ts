import type { MemberDefinition } from '../../core/domain/domain-xml.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import { isForeign } from '../../core/fleet/foreign-member.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn } from '../../core/fleet/observation.js';
import type { Unfinished } from '../../core/fleet/operation.js';
import type { Plan } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { BaseImage } from '../../core/image/base.js';
import type { Ports } from '../../ports/index.js';
import { defaultBootConcurrency, observeWithMarks, type WorkOptions } from '../fleet/access.js';
import { makeHostKeys } from '../guest/host-keys.js';
import { reidentifyGuest, retryUntilAnswered } from '../guest/reidentify.js';
import { CloneMemory } from './memory.js';
import { verifiedWarmBase } from './plan.js';

/** Members that resume from the memory of a source VM instead of booting. */

/** Time limit for giving a clone its identity. On a busy host, the agent of an emulated guest is slow. */
const fixUpMs = 180_000;
/** Additional time if the clone boots first. */
const bootMs = 300_000;

/** Clones that a killed run left incomplete may still be duplicates of the source VM: remove them, so that they are created again. */
export async function discardIncomplete(ports: Ports, record: FleetRecord, { operation, done }: Unfinished): Promise<void> {
  const pending = record.spec.warm === undefined ? new Set() : await ports.fleets.listIdentityPending(record.name);
  const half = record.members.filter(({ index, name }) => operation.targets.includes(index) && !done.has(index) && pending.has(name));
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

/** Creates clones. Must be closed. */
export class Cloner {
  readonly #ports: Ports;
  readonly #record: FleetRecord;
  readonly #base: BaseImage;
  readonly #definitions: ReadonlyMap<string, MemberDefinition>;
  readonly #signal: AbortSignal | undefined;
  /** Undefined if the clones boot. */
  readonly #memory: CloneMemory | undefined;
  readonly #notes = new Set<string>();

  private constructor(
    ports: Ports,
    parts: { record: FleetRecord; base: BaseImage; definitions: ReadonlyMap<string, MemberDefinition>; memory: CloneMemory | undefined },
    signal: AbortSignal | undefined,
  ) {
    this.#ports = ports;
    this.#record = parts.record;
    this.#base = parts.base;
    this.#definitions = parts.definitions;
    this.#memory = parts.memory;
    this.#signal = signal;
  }

  /** Limitations of the clones, as notes for the user. */
  get notes(): Set<string> {
    return new Set([...(this.#memory?.notes ?? []), ...this.#notes]);
  }

  /**
   * @param definitions of the members to create
   * @returns undefined if the plan creates no clones
   * @throws BASE_CHANGED, PREFLIGHT_FAILED without space for the copies
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
    const { libvirt, hypervisor } = base.warm;
    const isSame = now.libvirt === libvirt && now.hypervisor === hypervisor;
    const memory = isSame ? new CloneMemory(ports, record.name, base, { count, copies: Math.min(count, bootConcurrency) }) : undefined;
    await memory?.assertRoom();
    const cloner = new Cloner(ports, { record, base, definitions, memory }, signal);
    if (!isSame) {
      const versions = `the memory was saved with libvirt ${libvirt} and ${hypervisor}, and this host has ${now.libvirt} and ${now.hypervisor}`;
      cloner.#notes.add(`clones were booted instead of restored: ${versions}`);
      if (record.spec.tpm) cloner.#notes.add('the TPMs of these clones are new: they cannot unseal what the source VM sealed');
    }
    return cloner;
  }

  /** Restores a member from the source VM's memory and gives it its own identity. If that fails, the member is forced off and its disk removed: it would be a duplicate of the source VM.
   */
  readonly clone = async (member: MemberIdentity): Promise<void> => {
    await this.#ports.fleets.prepareStart(this.#record.name, member.name);
    try {
      await this.#bringUp(member);
      await this.#regenerateIdentity(member);
    } catch (error) {
      await this.#end(member, error);
      throw error;
    }
  };

  /** If the cleanup fails, the identity-pending mark stays and the member is not started. */
  async #end(member: MemberIdentity, cause: unknown): Promise<void> {
    try {
      await this.#ports.hypervisor.destroy(member.name);
      await discardDisks(this.#ports, this.#record, member);
    } catch (error) {
      const { message, details = [] } = reportOf(cause);
      throw new CowherdError('NOT_READY', message, {
        details: [...details, `and it could not be forced off: ${reportOf(error).message}`],
        hint: `It is a duplicate of the source VM. Force it off: virsh destroy ${member.name}; then: cowherd reset ${this.#record.name} ${member.index} --start all`,
        cause,
      });
    }
  }

  async close(): Promise<void> {
    await this.#memory?.close();
  }

  /** Until a clone has its own identity, it is paused or has no link: it must not use the source VM's addresses on the network. */
  async #bringUp(member: MemberIdentity): Promise<void> {
    const { hypervisor } = this.#ports;
    if (this.#memory === undefined) await hypervisor.startPaused(member.name);
    else await this.#memory.restore(member.name, this.#xmlOf(member));
    await this.#setLinks(member, false);
    await hypervisor.resume(member.name);
  }

  #xmlOf({ name }: MemberIdentity): string {
    const xml = this.#definitions.get(name)?.xml;
    if (xml === undefined) throw new Error(`no definition of ${name} was prepared`);
    return xml;
  }

  /** Changes only the links that were up in the source VM. */
  async #setLinks(member: MemberIdentity, isUp: boolean): Promise<void> {
    for (const card of this.#cards(member).filter((one) => one.isUp)) await this.#ports.hypervisor.setLink(member.name, card.to, isUp);
  }

  /** Maps the MACs of the source VM's cards to the member's. A member has a MAC even if its domain has no card. */
  #cards({ macs }: MemberIdentity): { from: string; to: string; isUp: boolean }[] {
    return (this.#base.warm?.cards ?? []).map(({ mac, isUp }, position) => ({ from: mac, to: macs[position] ?? '', isUp }));
  }

  async #regenerateIdentity(member: MemberIdentity): Promise<void> {
    const { clock, seeds } = this.#ports;
    const deadline = clock.monotonic() + (this.#memory === undefined ? bootMs : 0) + fixUpMs;
    const left = (): { timeoutMs: number; signal: AbortSignal | undefined } => ({
      timeoutMs: Math.max(1_000, deadline - clock.monotonic()),
      signal: this.#signal,
    });
    const cards = this.#cards(member);
    const identity = {
      hostname: member.name,
      machineId: member.uuid.replaceAll('-', ''),
      // A booted guest already has these MACs, but its settings may name the source VM's.
      macs: cards.map(({ from, to }) => ({ from, to })),
      hostKeys: 'renew' as const,
      newHostKeys: await makeHostKeys(this.#base.warm?.hostKeyTypes ?? []),
      // A card that only QEMU knows (--forward-ssh) is alone on its network and keeps its address, to which QEMU forwards.
      formerAddresses: cards.length === 0 ? [] : (this.#base.warm?.addresses ?? []),
    };
    const fix = { clock: true, entropy: true, renew: cards.length > 0, identity };
    const self = await retryUntilAnswered(clock, deadline, () => reidentifyGuest(this.#ports, member.name, fix, left()), this.#signal);
    await seeds.learnHost(this.#record.name, member.name, self.hostKeys);
    // No notes about missing links: they were set down above.
    for (const note of self.notes) this.#notes.add(`in clones: ${note}`);
    await this.#setLinks(member, true);
    await this.#ports.fleets.markMade(this.#record.name, member.name);
  }
}
