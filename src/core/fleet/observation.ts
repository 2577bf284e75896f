import { memberDisks } from './disks.js';
import type { MemberIdentity } from './identity.js';
import type { FleetRecord } from './record.js';

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
  /** Of a clone that was not made itself: a guest that boots from its disk is a second golden VM. */
  isIdentityPending?: boolean;
}

export type MemberState = 'running' | 'shutOff' | 'paused' | 'broken' | 'missing';

export interface JudgedMember extends ObservedMember {
  state: MemberState;
  reason: string;
  driftBytes: number;
  problems: string[];
  /** Whether its domain or one of its disks does not exist. */
  isIncomplete: boolean;
  /** What to do about a guest that did not go off or pause by anybody's wish; undefined for others. */
  hint?: string;
}

/** Puts together what libvirt and the disk say. No I/O, and one bad member never hides the others. */
export function observeMembers(
  record: FleetRecord,
  domains: readonly DomainState[],
  diskBytes: ReadonlyMap<string, number>,
  unmade: ReadonlySet<string> = new Set(),
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
      ...(unmade.has(member.name) ? { isIdentityPending: true } : {}),
    };
  });
}

/** @param baseProblem what is wrong with the base image under all of them, if anything */
export function judgeMember(member: ObservedMember, freshOverlayBytes: number, baseProblem?: string): JudgedMember {
  const { domain, overlayBytes } = member;
  const driftBytes = overlayBytes === undefined ? 0 : Math.max(0, overlayBytes - freshOverlayBytes);
  if (domain === undefined && overlayBytes === undefined) {
    const problems = ['domain and overlay are missing'];
    return { ...member, state: 'missing', reason: 'never created, or removed', driftBytes, problems, isIncomplete: true };
  }
  const problems: string[] = [];
  if (domain === undefined) problems.push('domain is missing');
  else if (domain.uuid !== member.uuid) problems.push('a foreign domain has its name');
  else if (domain.name !== member.name) problems.push(`its domain was renamed to ${domain.name}`);
  if (overlayBytes === undefined) problems.push('overlay is missing');
  for (const stem of member.missingDisks ?? []) problems.push(`disk ${stem} is missing`);
  if (baseProblem !== undefined) problems.push(baseProblem);
  const isIncomplete = domain === undefined || overlayBytes === undefined || (member.missingDisks ?? []).length > 0;
  const state = problems.length > 0 ? 'broken' : domain?.state === 'other' || domain === undefined ? 'broken' : domain.state;
  const hint = domain === undefined ? undefined : hintFor(domain);
  const reason = domain?.reason ?? 'no domain';
  return { ...member, state, reason, driftBytes, problems, isIncomplete, ...(hint === undefined ? {} : { hint }) };
}

function hintFor({ name, state, reason }: DomainState): string | undefined {
  const fleet = name.replace(/-\d+$/, '');
  if (state === 'paused') {
    if (reason === 'I/O error')
      return `free some space ("cowherd report" shows what uses it), then "cowherd start ${fleet}" resumes them where they stopped; a reset discards their changes`;
    if (reason === 'guest crashed')
      return `the guest crashed and was kept for inspection: force it off (cowherd stop --force), or reset it`;
    if (reason === 'watchdog') return `the guest's watchdog expired: "cowherd start ${fleet}" resumes it, a reset discards its changes`;
    if (isStartingUp({ state, reason }))
      return `libvirt is starting it: check again. If that lasts, "cowherd start ${fleet}" says what to do`;
    if (reason === 'by the user') return `a user paused them: "cowherd start ${fleet}" resumes them`;
  }
  if (state === 'shutOff' && reason === 'crashed')
    return `QEMU ended unexpectedly (was it killed, or out of memory?): see /var/log/libvirt/qemu/, then cowherd start ${fleet}`;
  if (state === 'shutOff' && reason === 'failed') return `it could not start: "cowherd start ${fleet}" shows why`;
  return undefined;
}

/**
 * Whether libvirt has begun to start a domain and is not through: for moments, until its QEMU is there. For good where libvirtd was
 * killed in the midst of it: it then keeps a note of a QEMU that does not exist, and every call waits for a lock that nobody holds.
 */
export function isStartingUp({ state, reason }: Pick<DomainState, 'state' | 'reason'>): boolean {
  return state === 'paused' && reason === 'starting up';
}

export function isOn(domain: DomainState | undefined): boolean {
  return domain !== undefined && domain.state !== 'shutOff';
}
