import type { CowherdError } from '../errors.js';
import type { MemberMark, ObservedMember } from './observation.js';
import { isOn, isStartingUp } from './observation.js';

/** What can be done to one member, in the order in which it is done. */
export type StepName =
  | 'stop'
  | 'overlay'
  | 'seed'
  | 'define'
  | 'start'
  /** Goes on from the golden VM's memory, and becomes itself. */
  | 'restore'
  | 'undefine'
  | 'unlink'
  | 'shutdown'
  | 'wait'
  | 'rebase'
  /** Its first disk becomes larger. */
  | 'grow'
  | 'resume'
  | WarmStepName;

/** Into and out of a checkpoint. */
export type WarmStepName = 'checkpoint' | 'forget' | 'verify' | 'startPaused' | 'restoreCheckpoint' | 'fixUp';

export interface MemberPlan {
  index: number;
  name: string;
  steps: StepName[];
  /** Why the steps are needed, for people. */
  why: string;
  /** Steps whose effect waits for the member's next start: it runs on its old definition until then. */
  atNextStart: boolean;
}

export interface Plan {
  members: MemberPlan[];
  unchanged: string[];
  /** Members that nothing may be done to by this verb, and why. */
  refused: Array<{ name: string; reason: string; hint: string }>;
}

/** A member together with the mark in its domain's metadata; undefined where there is no domain or no mark. */
export interface MarkedMember extends ObservedMember {
  mark: MemberMark | undefined;
  /** Why the mark could not be read: nothing may be done to a domain that may be another's. */
  unread?: CowherdError | undefined;
}

export interface SpawnSubject extends MarkedMember {
  /** Digest of the definition that the spec asks for. */
  definition: string;
  /** What of its definition changes, in words; empty where nobody can tell. */
  changes?: readonly string[];
  /** Why its seed must be written; undefined where it needs none, or has the right one. */
  seedLack?: string | undefined;
}

/**
 * The steps from what is observed to what the spec says: create what is missing, redefine what has changed, start what is off,
 * leave the rest. Planning again after the steps were applied gives an empty plan.
 */
export function planSpawn(subjects: readonly SpawnSubject[], fleetId: string): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const subject of subjects) {
    const { domain, mark, index, name } = subject;
    if (isForeign(subject, fleetId)) {
      plan.refused.push(foreignReason(subject));
      continue;
    }
    const running = isOn(domain);
    const missing =
      subject.overlayBytes === undefined ? ['overlay'] : (subject.missingDisks ?? []).map((stem) => `disk ${stem.replace(`${name}.`, '')}`);
    if (running && subject.overlayBytes === undefined) {
      plan.refused.push({
        name,
        reason: `its overlay is missing under the running domain`,
        hint: 'Save what you need from the guest, then reset that member.',
      });
      continue;
    }
    if (running && missing.length > 0) {
      plan.refused.push({
        name,
        reason: `it runs without its ${missing.join(', ')}`,
        hint: 'Stop it (cowherd stop), then run "cowherd spawn" again: it makes what is missing.',
      });
      continue;
    }
    if (domain?.reason === 'saved' && subject.overlayBytes !== undefined && missing.length > 0) {
      plan.refused.push({
        name,
        reason: `its memory is saved, of a guest that does not know of its ${missing.join(', ')}`,
        hint: `Start it and stop it: virsh start ${name}; virsh shutdown ${name}`,
      });
      continue;
    }
    const steps: StepName[] = [];
    const why: string[] = [];
    if (missing.length > 0) {
      steps.push('overlay');
      why.push(`no ${missing.join(', no ')}`);
    }
    if (subject.seedLack !== undefined) {
      steps.push('seed');
      why.push(subject.seedLack);
    }
    const changed = domain !== undefined && mark?.definition !== subject.definition;
    if (domain === undefined || changed) {
      steps.push('define');
      if (!changed) why.push('no domain');
      else if (subject.changes === undefined || subject.changes.length === 0) why.push('definition changed');
      else why.push(...subject.changes);
    }
    if (!running || (domain !== undefined && isStartingUp(domain))) {
      steps.push('start');
      why.push(running ? 'starting up' : 'off');
    }
    if (steps.length === 0) plan.unchanged.push(name);
    else plan.members.push({ index, name, steps, why: why.join(', '), atNextStart: running });
  }
  return plan;
}

/** Which members a verb starts again at the end. */
export type StartPolicy = 'all' | 'none' | 'same';

export interface ResetPolicy {
  start: StartPolicy;
  /** Names of members that were on when the reset began. */
  wasOn: ReadonlySet<string>;
  /** Whether members have seeds that go with their overlays. */
  withSeeds: boolean;
  /** Whether domains are undefined and defined again: the only way to clear a TPM, whose state is libvirt's. */
  redefines?: boolean;
}

/** Reset: stop, fresh overlay and seed in place of the old ones, start those that ran. */
export function planReset(
  members: readonly MarkedMember[],
  fleetId: string,
  { start, wasOn, withSeeds, redefines = false }: ResetPolicy,
): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name } = member;
    // A reset that redefines may have been interrupted between the two.
    if (domain === undefined && !redefines) {
      plan.refused.push({ name, reason: 'it has no domain', hint: 'Run "cowherd spawn" again: it makes what is missing.' });
      continue;
    }
    if (isForeign(member, fleetId)) {
      plan.refused.push(foreignReason(member));
      continue;
    }
    const steps: StepName[] = isOn(domain) ? ['stop'] : [];
    if (redefines && domain !== undefined) steps.push('undefine');
    steps.push('overlay');
    if (withSeeds) steps.push('seed');
    if (redefines) steps.push('define');
    if (start === 'all' || (start === 'same' && wasOn.has(name))) steps.push('start');
    plan.members.push({ index, name, steps, why: 'reset', atNextStart: false });
  }
  return plan;
}

export interface RebasePolicy extends ResetPolicy {
  /** Overlays keep what the guests wrote: each is moved to the new base image as it is. */
  keepDrift: boolean;
}

/** Rebase: as a reset, on another base image, which domains must be told of; or the overlay itself is moved, of members that are off. */
export function planRebase(members: readonly MarkedMember[], fleetId: string, policy: RebasePolicy): Plan {
  if (!policy.keepDrift) {
    const plan = planReset(members, fleetId, policy);
    const redefines = policy.redefines === true;
    return {
      ...plan,
      members: plan.members.map((member) => ({ ...member, steps: redefines ? member.steps : withDefine(member.steps), why: 'rebase' })),
    };
  }
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name, overlayBytes } = member;
    const refuse = (reason: string, hint: string): void => void plan.refused.push({ name, reason, hint });
    if (domain === undefined || overlayBytes === undefined) {
      refuse(domain === undefined ? 'it has no domain' : 'its overlay is missing', 'Run "cowherd spawn" again: it makes what is missing.');
    } else if (isForeign(member, fleetId)) {
      plan.refused.push(foreignReason(member));
    } else if (isOn(domain)) {
      refuse('it runs, and its overlay is to be kept', `Stop it first: cowherd stop ${domain.name.replace(/-\d+$/, '')} ${index}`);
    } else if (domain.reason === 'saved') {
      refuse(
        'its memory is saved, which belongs to the old base image',
        `Start it and stop it: virsh start ${name}; virsh shutdown ${name}`,
      );
    } else {
      const start: StepName[] = policy.start === 'all' ? ['start'] : [];
      plan.members.push({ index, name, steps: ['rebase', 'define', ...start], why: 'rebase, drift kept', atNextStart: false });
    }
  }
  return plan;
}

/** A domain names what its overlay stands on. */
function withDefine(steps: readonly StepName[]): StepName[] {
  return [...steps.filter((step) => step !== 'start'), 'define', ...steps.filter((step) => step === 'start')];
}

export function planTeardown(members: readonly MarkedMember[], fleetId: string): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name } = member;
    const isOthers = isForeign(member, fleetId);
    if (isOthers && domain?.uuid === member.uuid) {
      // Renamed, or its mark is lost: it may well have the member's overlay open.
      plan.refused.push(foreignReason(member));
      continue;
    }
    // A foreign domain under the member's name is left alone; what is the member's own still goes.
    const own = domain !== undefined && !isOthers;
    const steps: StepName[] = own && isOn(domain) ? ['stop', 'undefine', 'unlink'] : own ? ['undefine', 'unlink'] : ['unlink'];
    plan.members.push({ index, name, steps, why: 'teardown', atNextStart: false });
  }
  return plan;
}

/** Reasons of a pause that nothing ends but a person. The others are libvirt's own, for moments. */
export const resumable: ReadonlySet<string> = new Set(['by the user', 'I/O error', 'watchdog', 'from snapshot']);

/** Start: what is off is started, and what is paused goes on. Stop: what is on is shut down. */
export function planPower(members: readonly MarkedMember[], fleetId: string, verb: 'start' | 'stop'): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name, overlayBytes, missingDisks } = member;
    if (domain === undefined) {
      plan.refused.push({ name, reason: 'it has no domain', hint: 'Run "cowherd spawn" again: it makes what is missing.' });
    } else if (isForeign(member, fleetId)) {
      plan.refused.push(foreignReason(member));
    } else if (verb === 'start' && domain.state === 'paused' && domain.reason === 'guest crashed') {
      plan.refused.push({
        name,
        reason: 'its guest has crashed, and is kept as it was',
        hint: 'End it (cowherd stop --force), or reset it.',
      });
    } else if (verb === 'start' && domain.state === 'paused' && resumable.has(domain.reason)) {
      plan.members.push({ index, name, steps: ['resume'], why: `paused: ${domain.reason}`, atNextStart: false });
    } else if (verb === 'start' && isStartingUp(domain)) {
      plan.members.push({ index, name, steps: ['start'], why: 'starting up', atNextStart: false });
    } else if (isOn(domain) === (verb === 'start')) {
      plan.unchanged.push(name);
    } else if (verb === 'start' && (overlayBytes === undefined || (missingDisks ?? []).length > 0)) {
      plan.refused.push({
        name,
        reason: overlayBytes === undefined ? 'its overlay is missing' : `its disk ${(missingDisks ?? []).join(', ')} is missing`,
        hint: `A reset gives it a fresh one: cowherd reset ${name.replace(/-\d+$/, '')} ${index}`,
      });
    } else {
      plan.members.push({ index, name, steps: [verb === 'start' ? 'start' : 'shutdown'], why: verb, atNextStart: false });
    }
  }
  return plan;
}

/**
 * Whether a domain under a member's name is somebody else's. Both must agree, the UUID that was derived for the member and the
 * mark in the domain: the first is not enough after "virsh edit", the second can be copied with a domain.
 */
export function isForeign({ domain, mark, name, uuid, index }: MarkedMember, fleetId: string): boolean {
  return domain !== undefined && (domain.name !== name || domain.uuid !== uuid || mark?.fleetId !== fleetId || mark.index !== index);
}

/** Of a member that libvirt gave no answer about. */
export function unreadReason(name: string, { message, hint }: CowherdError): Plan['refused'][number] {
  return { name, reason: message, hint: hint ?? 'Run the same command again.' };
}

/** Renamed, it would be lost to its own fleet. */
export function otherStoreHint(name: string): string {
  return `cowherd does not touch it. Take another name for this fleet, or say that store with --store DIR: "virsh domblklist ${name}" shows where its disks are.`;
}

/** Why a member whose domain {@link isForeign} is not touched. */
export function foreignReason({ name, uuid, domain, unread, mark }: MarkedMember): Plan['refused'][number] {
  if (unread !== undefined) return unreadReason(name, unread);
  if (domain !== undefined && domain.name !== name) {
    return { name, reason: `its domain was renamed to ${domain.name}`, hint: `Name it back: virsh domrename ${domain.name} ${name}` };
  }
  if (domain?.uuid !== uuid && mark !== undefined) {
    return {
      name,
      reason: `the domain named ${name} is member ${mark.index} of a fleet ${mark.fleet} of another store`,
      hint: otherStoreHint(name),
    };
  }
  return domain?.uuid === uuid
    ? {
        name,
        reason: `the domain named ${name} has lost the mark of its fleet`,
        hint: `cowherd does not touch it. If you need nothing of it: virsh undefine ${name}`,
      }
    : {
        name,
        reason: `the domain named ${name} is not of this fleet`,
        hint: `cowherd does not touch it. Rename it to bring the member back: virsh domrename ${name} NEW`,
      };
}
