import { memberDisks } from './disks.js';
import type { FleetRecord } from './fleet.js';
import type { MemberIdentity } from './identity.js';

/** A domain as libvirt lists it. */
export interface DomainState {
  name: string;
  uuid: string;
  state: 'running' | 'paused' | 'shutOff' | 'other';
  /** libvirt's word for why, e.g. `booted`, `I/O error`, `destroyed`. */
  reason: string;
}

/** What a domain's metadata says: which member of which fleet it is. */
export interface MemberMark {
  fleet: string;
  fleetId: string;
  index: number;
  baseName: string;
  baseDigest: string;
  /** Digest of the definition, to tell whether the template or the spec has changed since. */
  definition: string;
  /** The fleet's domain spec as JSON. */
  spec: string;
}

/** One member as it is found, before anyone judges it. */
export interface ObservedMember extends MemberIdentity {
  domain: DomainState | undefined;
  /** Bytes on disk of all its disks; undefined where the first one is not there. */
  overlayBytes: number | undefined;
  /** Stems of disks beside the first one that are not there. */
  missingDisks?: readonly string[];
}

export type MemberState = 'running' | 'shutOff' | 'paused' | 'broken' | 'missing';

export interface JudgedMember extends ObservedMember {
  state: MemberState;
  reason: string;
  driftBytes: number;
  problems: string[];
}

/** Puts together what libvirt and the disk say. No I/O, and one bad member never hides the others. */
export function observeMembers(
  record: FleetRecord,
  domains: readonly DomainState[],
  diskBytes: ReadonlyMap<string, number>,
): ObservedMember[] {
  const byName = new Map(domains.map((domain) => [domain.name, domain]));
  const byUuid = new Map(domains.map((domain) => [domain.uuid, domain]));
  // By UUID where the name is not there: a member that was renamed still has its overlay open.
  return record.members.map((member) => {
    const [first, ...others] = memberDisks(record, member).map(({ stem }) => ({ stem, bytes: diskBytes.get(stem) }));
    const sum = others.reduce((total, { bytes = 0 }) => total + bytes, first?.bytes ?? 0);
    return {
      ...member,
      domain: byName.get(member.name) ?? byUuid.get(member.uuid),
      overlayBytes: first?.bytes === undefined ? undefined : sum,
      missingDisks: others.filter(({ bytes }) => bytes === undefined).map(({ stem }) => stem),
    };
  });
}

/** @param baseProblem what is wrong with the base image under all of them, if anything */
export function judgeMember(member: ObservedMember, freshOverlayBytes: number, baseProblem?: string): JudgedMember {
  const { domain, overlayBytes } = member;
  const driftBytes = overlayBytes === undefined ? 0 : Math.max(0, overlayBytes - freshOverlayBytes);
  if (domain === undefined && overlayBytes === undefined) {
    return { ...member, state: 'missing', reason: 'never made, or removed', driftBytes, problems: ['domain and overlay are missing'] };
  }
  const problems: string[] = [];
  if (domain === undefined) problems.push('domain is missing');
  else if (domain.uuid !== member.uuid) problems.push('a foreign domain has its name');
  else if (domain.name !== member.name) problems.push(`its domain was renamed to ${domain.name}`);
  if (overlayBytes === undefined) problems.push('overlay is missing');
  for (const stem of member.missingDisks ?? []) problems.push(`disk ${stem} is missing`);
  if (domain?.state === 'paused' && domain.reason === 'I/O error') problems.push('paused by an I/O error: is the disk full?');
  if (baseProblem !== undefined) problems.push(baseProblem);
  const state = problems.length > 0 ? 'broken' : domain?.state === 'other' || domain === undefined ? 'broken' : domain.state;
  return { ...member, state, reason: domain?.reason ?? 'no domain', driftBytes, problems };
}

export function isOn(domain: DomainState | undefined): boolean {
  return domain !== undefined && domain.state !== 'shutOff';
}
