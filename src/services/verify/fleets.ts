import { hasDisk } from '../../core/domain/domain-xml.js';
import { reportOf } from '../../core/errors.js';
import type { FindingKind } from '../../core/finding.js';
import { memberDisks } from '../../core/fleet/disks.js';
import { foreignReason, isForeign } from '../../core/fleet/foreign-member.js';
import { isOn, judgeMember, observeMembers } from '../../core/fleet/observation.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import { type BaseRef, baseOf, basesOf, type FleetRecord } from '../../core/fleet/record.js';
import { formatBaseRef } from '../../core/image/base.js';
import { OpenElsewhere } from '../../core/image/open-elsewhere.js';
import { namePattern } from '../../core/names.js';
import type { Ports, StoreEntry } from '../../ports/index.js';
import { asDuplicate } from '../clone/plan.js';
import { misplaced, misplacedHint } from '../fleet/disks/backing-check.js';
import { foreignDiskHint } from '../fleet/disks/foreign-disks.js';
import { examineCheckpoints } from './checkpoints.js';
import { exposures, type FixableFinding, fixable } from './fixable-finding.js';
import { withoutRecord } from './fleet-without-record.js';
import { domainsNaming, type LibvirtInventory } from './libvirt-inventory.js';

export interface FleetFindings {
  findings: FixableFinding[];
  members: number;
  /** Files that cowherd did not create. */
  unknown: string[];
}

/** Names of all fleets with a directory in the store or with domains. */
export async function fleetNames(ports: Ports, inventory: LibvirtInventory): Promise<string[]> {
  const marked = domainsNaming(inventory, ports.fleets.root)
    .flatMap(({ uuid }) => inventory.marks.get(uuid)?.fleet ?? [])
    // Marks are untrusted: accept only valid names for paths.
    .filter((name) => namePattern.test(name));
  return [...new Set([...(await ports.survey.owners('fleets')), ...marked])].sort();
}

/** Compares one fleet's record, its files and its domains. Changes nothing. */
export async function examineFleet(ports: Ports, inventory: LibvirtInventory, fleet: string, isDeep: boolean): Promise<FleetFindings> {
  const entries = await ports.survey.entries('fleets', fleet);
  const unknown = entries.filter(({ role }) => role === 'unknown').map(({ path }) => path);
  const only = (what: FixableFinding): FleetFindings => ({ findings: [{ ...what, fleet }], members: 0, unknown });
  let record: FleetRecord | undefined;
  try {
    record = await ports.fleets.read(fleet);
    const unfinished = await ports.fleets.unfinished(fleet);
    // During an unfinished operation, inconsistencies are normal.
    if (unfinished !== undefined) {
      const { verb, targets, startedAt } = unfinished.operation;
      const message = `a ${verb} was interrupted, with ${unfinished.done.size} of ${targets.length} members done; it started at ${startedAt}`;
      return only(fixable('unfinished', fleet, message, { hint: `Finish it: cowherd resume ${fleet}` }));
    }
    const freeze = record === undefined ? await ports.memory.readFreeze(fleet) : undefined;
    if (freeze !== undefined) {
      const message = `a spawn from ${freeze.domain} was interrupted while that was frozen; it started at ${freeze.startedAt}`;
      return only(fixable('unfinished', fleet, message, { hint: `Finish it: cowherd resume ${fleet}` }));
    }
  } catch (error) {
    const { message, hint = '' } = reportOf(error);
    return only(fixable('damaged', fleet, message, { hint }));
  }
  const leftovers = entries
    .filter(({ role }) => role === 'leftover')
    .map((entry) => {
      const hint = `Remove it: cowherd verify ${fleet} --fix`;
      const fix = (): Promise<void> => ports.survey.remove('fleets', entry);
      return fixable('leftover', entry.path, 'left by a run that was killed', { hint, bytes: entry.bytes, fix });
    });
  const of =
    record === undefined
      ? await withoutRecord(ports, inventory, fleet, entries)
      : await new Examination(ports, inventory, record).run(entries, isDeep);
  const exposed = exposures(ports, entries, `cowherd verify ${fleet} --fix`);
  const findings = [...leftovers, ...exposed, ...of].map((one) => ({ ...one, fleet }));
  return { findings, members: record?.members.length ?? 0, unknown };
}

class Examination {
  readonly #findings: FixableFinding[] = [];

  constructor(
    private readonly ports: Ports,
    private readonly inventory: LibvirtInventory,
    private readonly record: FleetRecord,
  ) {}

  async run(entries: readonly StoreEntry[], isDeep: boolean): Promise<FixableFinding[]> {
    const { ports, inventory, record } = this;
    const observed = observeMembers(
      record,
      inventory.domains,
      await ports.overlays.sizes(record.name),
      await ports.fleets.listIdentityPending(record.name),
    );
    const members = observed.map((member): MarkedMember => {
      const uuid = member.domain?.uuid ?? '';
      return { ...member, mark: inventory.marks.get(uuid), unread: inventory.unread.get(uuid) };
    });
    for (const member of members) this.#judge(member);
    const off = members.filter(({ domain }) => !isOn(domain));
    for (const { name, reason, hint, isDamaged } of await misplaced(ports, record, off))
      this.#note(isDamaged ? 'damaged' : 'mismatch', name, reason, hint);
    await this.#judgeBases();
    await this.#judgeSeeds();
    this.#findings.push(...(await examineCheckpoints(ports, record, members)));
    this.#judgeFiles(entries);
    this.#judgeOtherDomains(members);
    if (isDeep) for (const member of members) await this.#readDisks(member);
    return this.#findings;
  }

  #note(kind: FindingKind, what: string, message: string, hint: string, bytes = 0): void {
    this.#findings.push(fixable(kind, what, message, { hint, bytes }));
  }

  #judge(member: MarkedMember): void {
    const { ports, record } = this;
    const { name, index, domain } = member;
    if (member.unread !== undefined || isForeign(member, record.id)) {
      const { reason, hint } = foreignReason(member);
      this.#note('mismatch', name, reason, hint);
      return;
    }
    const { problems, isIncomplete } = judgeMember(member, record.freshOverlayBytes);
    if (isIncomplete)
      this.#note(
        'missing',
        name,
        problems.join(', '),
        `"cowherd spawn ${record.name}" creates what is missing; a reset creates fresh disks.`,
      );
    else if (problems.length > 0) this.#note('damaged', name, problems.join(', '), `For details: cowherd status ${record.name}`);
    if (domain === undefined) return;
    if (member.isIdentityPending === true && isOn(domain)) {
      const { reason, hint } = asDuplicate(member, record);
      this.#note('mismatch', name, reason, hint);
    }
    const xml = this.inventory.documents.get(domain.uuid) ?? '';
    const { disk } = ports.fleets.files(record.name, name);
    const strange = memberDisks(record, member).filter(({ stem }) => !hasDisk(xml, disk(stem)));
    if (strange.length > 0) {
      const lacks = `its domain does not use ${strange.map(({ stem }) => disk(stem)).join(', ')}`;
      this.#note('mismatch', name, lacks, foreignDiskHint(ports, record, member, xml));
    } else if (member.mark !== undefined && member.mark.baseDigest !== baseOf(record, member).digest) {
      const hint = `Redefine it: cowherd spawn ${record.name} --no-start`;
      this.#note('mismatch', name, `its domain names another base image than its record (member ${index})`, hint);
    }
  }

  /** Missing base images only: changed ones are reported once, by examineBases. */
  async #judgeBases(): Promise<void> {
    const exists = async (ref: BaseRef): Promise<boolean> => (await this.ports.bases.get(ref).catch(() => undefined)) !== undefined;
    for (const ref of basesOf(this.record)) {
      if (await exists(ref)) continue;
      const hint = `Every overlay based on it is unusable. Import the file with sha256 ${ref.digest} again: cowherd base add FILE --name ${ref.name}`;
      this.#note('missing', formatBaseRef(ref), 'the base image is not in the store', hint);
    }
  }

  async #judgeSeeds(): Promise<void> {
    const { ports, record } = this;
    if (record.spec.seed !== 'nocloud') return;
    const placed = await ports.seeds.observe(record.name);
    const without = record.members.filter(({ name }) => !placed.has(name)).map(({ name }) => name);
    if (without.length > 0)
      this.#note('missing', record.name, `no seed for ${without.join(', ')}`, `"cowherd spawn ${record.name}" creates what is missing.`);
  }

  #judgeFiles(entries: readonly StoreEntry[]): void {
    const { record } = this;
    const names = new Set(record.members.map(({ name }) => name));
    const stems = new Set(record.members.flatMap((member) => memberDisks(record, member).map(({ stem }) => stem)));
    for (const { path, role, stem, bytes } of entries) {
      if (role === 'disk' && !stems.has(stem))
        this.#note('orphan', path, 'a disk that belongs to no member', 'Check whether you need it, then remove the file.', bytes);
      if (role === 'companion' && !names.has(stem))
        this.#note('orphan', path, 'a file that belongs to no member', 'It can be removed.', bytes);
    }
  }

  /** Domains with this fleet's mark that are no members, and other domains that use its disks. */
  #judgeOtherDomains(members: readonly MarkedMember[]): void {
    const { record, inventory, ports } = this;
    const known = new Set(members.map(({ domain }) => domain?.uuid));
    for (const { name, uuid } of inventory.domains) {
      if (known.has(uuid) || inventory.marks.get(uuid)?.fleetId !== record.id) continue;
      this.#note(
        'orphan',
        name,
        `a domain with the metadata of fleet ${record.name} that is not a member`,
        'If you do not need it, remove it with "virsh undefine".',
      );
    }
    for (const { name, uuid } of domainsNaming(inventory, `${ports.fleets.root}/fleets/${record.name}/overlays`)) {
      if (known.has(uuid) || inventory.marks.get(uuid)?.fleetId === record.id) continue;
      this.#note(
        'mismatch',
        name,
        `a domain outside fleet ${record.name} uses one of its disks`,
        'Two domains must not write to the same disk: detach it from that domain.',
      );
    }
  }

  async #readDisks(member: MarkedMember): Promise<void> {
    const { ports, record } = this;
    if (isOn(member.domain) || member.overlayBytes === undefined) return;
    for (const { stem } of memberDisks(record, member)) {
      const path = ports.fleets.files(record.name, member.name).disk(stem);
      try {
        const warning = await ports.images.check(path);
        if (warning !== undefined)
          this.#note('damaged', member.name, warning, `cowherd compact ${record.name} ${member.index} rewrites it.`);
      } catch (error) {
        const { message, hint = '' } = reportOf(error);
        if (error instanceof OpenElsewhere) this.#note('inUse', member.name, `its disk could not be read: ${message}`, hint);
        else this.#note('damaged', member.name, message, misplacedHint(record, member.index, undefined));
      }
    }
  }
}
