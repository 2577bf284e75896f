import { hasDisk } from '../../core/domain/domain-xml.js';
import { forwardedPortsIn } from '../../core/domain/network.js';
import { CowherdError } from '../../core/errors.js';
import { type MemberIdentity, memberIdentity } from '../../core/fleet/identity.js';
import type { MemberMark } from '../../core/fleet/observation.js';
import { type BaseRef, type FleetRecord, parseState } from '../../core/fleet/record.js';
import { choiceIn, isSameChoice } from '../../core/host/cpu.js';
import { type DomainSpec, domainSpecSchema } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import { withFleetLock } from './access.js';
import { recordAsFound } from './reset/backing-check.js';
import { freshDisks, verifiedBases } from './reset/fresh-disks.js';

/**
 * Rebuilds fleet.json from what the domains themselves say. Only domains are believed whose UUID follows from their mark and
 * whose disk is the member's overlay in this store.
 * @returns the record that was written
 * @throws FLEET_NOT_FOUND where no domain says that it belongs to the fleet; BAD_USAGE where nothing is lost
 */
export function recoverFleet(ports: Ports, fleet: string): Promise<FleetRecord> {
  return withFleetLock(ports, fleet, async () => {
    const existing = await ports.fleets.read(fleet).catch(() => undefined);
    if (existing !== undefined) {
      throw new CowherdError('BAD_USAGE', `Nothing of fleet ${fleet} is lost: its fleet.json is whole`, {
        hint: `See "cowherd status ${fleet}".`,
      });
    }
    const { marks, documents } = await believableMarks(ports, fleet);
    const first = marks[0];
    if (first === undefined) {
      throw new CowherdError(
        'FLEET_NOT_FOUND',
        `No domain at ${ports.hypervisor.uri} says that it belongs to fleet ${fleet} in ${ports.fleets.root}`,
        {
          hint: 'Is it another connection (--connect) or another store (--store)?',
        },
      );
    }
    const base = commonBase(marks);
    const bases = new Map(marks.map((mark) => [mark.index, baseOfMark(mark)]));
    const spec = parseState(
      domainSpecSchema,
      fleet,
      "the spec in a domain's metadata",
      first.spec,
      'Its domains were edited by hand. Make the fleet anew.',
    );
    // A member whose domain is gone is still one while its overlay is there.
    const overlays = [...(await ports.fleets.overlaySizes(fleet)).keys()].map((stem) => Number(/^[^.]*-(\d+)$/.exec(stem)?.[1]));
    const indexes = new Set([...marks.map((mark) => mark.index), ...overlays.filter((index) => index > 0)]);
    const record: FleetRecord = {
      version: 1,
      id: first.fleetId,
      name: fleet,
      base,
      ...recoveredAccelerator(spec, documents.values()),
      spec,
      createdAt: ports.clock.now().toISOString(),
      freshOverlayBytes: 0,
      members: [...indexes]
        .sort((a, b) => a - b)
        .map((index) => {
          const member = memberIdentity(fleet, first.fleetId, index, spec.nics);
          const own = bases.get(index);
          const isOther = own !== undefined && own.digest !== base.digest;
          return { ...recovered(member, documents.get(member.name)), ...(isOther ? { base: own } : {}) };
        }),
    };
    // A member whose domain is gone says by its overlay where it stands.
    const found = await recordAsFound(ports, record, [...bases.values()]);
    const fresh = await freshDisks(ports, found, found.members, await verifiedBases(ports, found));
    const whole = { ...found, freshOverlayBytes: fresh.bytesPerMember };
    await ports.fleets.write(whole);
    return whole;
  });
}

/** What the domains are defined with, where they agree: else the next spawn chooses anew. */
function recoveredAccelerator({ virtType, cpu }: DomainSpec, documents: Iterable<string>): Pick<FleetRecord, 'accelerator'> {
  const [first, ...others] = virtType === 'auto' ? [...documents].map((xml) => choiceIn(xml, cpu)) : [];
  return first !== undefined && others.every((other) => other !== undefined && isSameChoice(other, first)) ? { accelerator: first } : {};
}

function baseOfMark({ baseName, baseDigest }: MemberMark): BaseRef {
  return { name: baseName, digest: baseDigest };
}

/** What most members stand on: in the middle of a rebase they do not agree. */
function commonBase(marks: readonly MemberMark[]): BaseRef {
  const counts = new Map<string, { base: BaseRef; members: number }>();
  for (const mark of marks) {
    const entry = counts.get(mark.baseDigest) ?? { base: baseOfMark(mark), members: 0 };
    entry.members++;
    counts.set(mark.baseDigest, entry);
  }
  const [most] = [...counts.values()].sort((a, b) => b.members - a.members);
  if (most === undefined) throw new Error('a fleet without marks has no base image');
  return most.base;
}

/** With the port that its domain forwards; a reserved address is known to the network, and found there by the next spawn. */
function recovered(member: MemberIdentity, xml: string | undefined): FleetRecord['members'][number] {
  const [sshPort] = forwardedPortsIn(xml ?? '');
  const { index, name, uuid, macs } = member;
  return { index, name, uuid, macs, ...(sshPort === undefined ? {} : { sshPort }) };
}

async function believableMarks(ports: Ports, fleet: string): Promise<{ marks: MemberMark[]; documents: Map<string, string> }> {
  const domains = await ports.hypervisor.listDomains();
  const marks = await ports.hypervisor.readMarks(domains.map((domain) => domain.name));
  const claiming = domains.filter((domain) => marks.get(domain.name)?.fleet === fleet);
  const documents = await ports.hypervisor.readXml(claiming.map((domain) => domain.name));
  const believable: MemberMark[] = [];
  for (const { name, uuid } of claiming) {
    const mark = marks.get(name);
    if (mark === undefined) continue;
    const identity = memberIdentity(fleet, mark.fleetId, mark.index);
    const hasOverlay = hasDisk(documents.get(name) ?? '', ports.fleets.files(fleet, name).overlay);
    if (identity.name === name && identity.uuid === uuid && hasOverlay) believable.push(mark);
  }
  const ids = new Set(believable.map((mark) => mark.fleetId));
  if (ids.size > 1) {
    throw new CowherdError('STATE_DAMAGED', `Domains of ${ids.size} different fleets call themselves ${fleet}`, {
      details: believable.map((mark) => `index ${mark.index}: fleet id ${mark.fleetId}`).slice(0, 10),
      hint: 'Undefine those that do not belong to it, then try again.',
    });
  }
  return { marks: believable, documents };
}
