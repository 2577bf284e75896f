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
import { recordAsFound } from './disks/backing-check.js';
import { freshDisks, verifiedBases } from './disks/fresh-disks.js';

/** Rebuilds fleet.json from the metadata of the domains. Only domains count whose UUID matches their mark and whose disk is the member's overlay in this store.
 * @returns the record that was written
 * @throws FLEET_NOT_FOUND if no domain belongs to the fleet; BAD_USAGE if fleet.json is intact
 */
export function recoverFleet(ports: Ports, fleet: string): Promise<FleetRecord> {
  return withFleetLock(ports, fleet, async () => {
    const existing = await ports.fleets.read(fleet).catch(() => undefined);
    if (existing !== undefined) {
      throw new CowherdError('BAD_USAGE', `Fleet ${fleet} does not need recovery: its fleet.json is intact`, {
        hint: `See its state: cowherd status ${fleet}`,
      });
    }
    const { marks, documents } = await believableMarks(ports, fleet);
    const first = marks[0];
    if (first === undefined) {
      throw new CowherdError('FLEET_NOT_FOUND', `No domain at ${ports.hypervisor.uri} belongs to fleet ${fleet} in ${ports.fleets.root}`, {
        hint: 'Check the connection (--connect) and the store (--store).',
      });
    }
    const base = commonBase(marks);
    const bases = new Map(marks.map((mark) => [mark.index, baseOfMark(mark)]));
    const spec = parseState(
      domainSpecSchema,
      fleet,
      "the spec in a domain's metadata",
      first.spec,
      'Its domains were edited by hand. Recreate the fleet.',
    );
    // An overlay without a domain also counts as a member.
    const overlays = [...(await ports.overlays.sizes(fleet)).keys()].map((stem) => Number(/^[^.]*-(\d+)$/.exec(stem)?.[1]));
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
          return { ...recovered(member, documents.get(member.uuid)), ...(isOther ? { base: own } : {}) };
        }),
    };
    // The base image of a member without a domain is read from its overlay.
    const found = await recordAsFound(ports, record, [...bases.values()]);
    const fresh = await freshDisks(ports, found, found.members, await verifiedBases(ports, found));
    const whole = { ...found, freshOverlayBytes: fresh.bytesPerMember };
    await ports.fleets.write(whole);
    return whole;
  });
}

/** The accelerator of the domains, if they agree; otherwise the next spawn chooses one. */
function recoveredAccelerator({ virtType, cpu }: DomainSpec, documents: Iterable<string>): Pick<FleetRecord, 'accelerator'> {
  const [first, ...others] = virtType === 'auto' ? [...documents].map((xml) => choiceIn(xml, cpu)) : [];
  return first !== undefined && others.every((other) => other !== undefined && isSameChoice(other, first)) ? { accelerator: first } : {};
}

function baseOfMark({ baseName, baseDigest }: MemberMark): BaseRef {
  return { name: baseName, digest: baseDigest };
}

/** The base image of most members: during a rebase they differ. */
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

/** Adds the port that its domain forwards. A reserved address is read from the network by the next spawn. */
function recovered(member: MemberIdentity, xml: string | undefined): FleetRecord['members'][number] {
  const [sshPort] = forwardedPortsIn(xml ?? '');
  const { index, name, uuid, macs } = member;
  return { index, name, uuid, macs, ...(sshPort === undefined ? {} : { sshPort }) };
}

async function believableMarks(ports: Ports, fleet: string): Promise<{ marks: MemberMark[]; documents: Map<string, string> }> {
  const domains = await ports.hypervisor.listDomains();
  const marks = await ports.hypervisor.readMarks(domains.map((domain) => domain.uuid));
  const claiming = domains.filter((domain) => marks.get(domain.uuid)?.fleet === fleet);
  const documents = await ports.hypervisor.readXml(claiming.map((domain) => domain.uuid));
  const believable: MemberMark[] = [];
  for (const { name, uuid } of claiming) {
    const mark = marks.get(uuid);
    if (mark === undefined) continue;
    const identity = memberIdentity(fleet, mark.fleetId, mark.index);
    const hasOverlay = hasDisk(documents.get(uuid) ?? '', ports.fleets.files(fleet, name).overlay);
    if (identity.name === name && identity.uuid === uuid && hasOverlay) believable.push(mark);
  }
  const ids = new Set(believable.map((mark) => mark.fleetId));
  if (ids.size > 1) {
    throw new CowherdError('STATE_DAMAGED', `Domains of ${ids.size} different fleets use the name ${fleet}`, {
      details: believable.map((mark) => `index ${mark.index}: fleet id ${mark.fleetId}`).slice(0, 10),
      hint: 'Undefine those that do not belong to the fleet, then try again.',
    });
  }
  return { marks: believable, documents };
}
