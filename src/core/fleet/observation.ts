import { memberDisks } from './disks.js';
import type { MemberIdentity } from './identity.js';
import type { FleetRecord } from './record.js';

/** A domain as libvirt lists it. */
export interface DomainState {
  name: string;
  uuid: string;
  state: 'running' | 'paused' | 'shutOff' | 'other';
  /** libvirt's reason, e.g. `booted`, `I/O error`, `destroyed`. */
  reason: string;
}

/** The mark in a domain's metadata: which member of which fleet it is. */
export interface MemberMark {
  fleet: string;
  fleetId: string;
  index: number;
  baseName: string;
  baseDigest: string;
  /** Digest of the definition, to detect changes of the template or the spec. */
  definition: string;
  /** The fleet's domain spec as JSON. */
  spec: string;
}

/** One member as observed, before it is judged. */
export interface ObservedMember extends MemberIdentity {
  domain: DomainState | undefined;
  /** Bytes on disk of all its disks; undefined if the first one is missing. */
  overlayBytes: number | undefined;
  /** Stems of missing disks, except the first one. */
  missingDisks?: readonly string[];
  /** For a clone without its own identity: a guest that boots from its disk is a duplicate of the source VM. */
  isIdentityPending?: boolean;
}

export type MemberState = 'running' | 'shutOff' | 'paused' | 'broken' | 'missing';

export interface JudgedMember extends ObservedMember {
  state: MemberState;
  reason: string;
  driftBytes: number;
  problems: string[];
  /** Whether its domain or one of its disks is missing. */
  isIncomplete: boolean;
  /** What to do about a guest that stopped or paused without a request; undefined for others. */
  hint?: string;
}

/** Combines the state of libvirt and the store. No I/O; one bad member does not affect the others. */
export function observeMembers(
  record: FleetRecord,
  domains: readonly DomainState[],
  diskBytes: ReadonlyMap<string, number>,
  unmade: ReadonlySet<string> = new Set(),
): ObservedMember[] {
  const byName = new Map(domains.map((domain) => [domain.name, domain]));
  const byUuid = new Map(domains.map((domain) => [domain.uuid, domain]));
  // By UUID if the name is missing: a renamed member still has its overlay open.
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

/** @param baseProblem the problem of the shared base image, if any */
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
 * Whether libvirt is starting a domain. Normally brief, until its QEMU exists. Permanent if libvirtd was killed during the start: it then
 * keeps the status file of a QEMU that does not exist, and every call waits for a lock that is never released.
 */
export function isStartingUp({ state, reason }: Pick<DomainState, 'state' | 'reason'>): boolean {
  return state === 'paused' && reason === 'starting up';
}

export function isOn(domain: DomainState | undefined): boolean {
  return domain !== undefined && domain.state !== 'shutOff';
}
