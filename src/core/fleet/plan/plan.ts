import { foreignReason, isForeign } from '../foreign-member.js';
import { isOn, isStartingUp } from '../observation.js';
import type { MarkedMember, Plan, StepName } from './member-plan.js';
/** Which members a verb starts again at the end. */
export type StartPolicy = 'all' | 'none' | 'same';

export interface ResetPolicy {
  start: StartPolicy;
  /** Names of members that were running when the reset began. */
  wasOn: ReadonlySet<string>;
  /** Whether members have seeds, which are replaced with their overlays. */
  withSeeds: boolean;
  /** Whether domains are redefined: the only way to clear a TPM, whose state libvirt keeps. */
  redefines?: boolean;
}

/** Reset: stop, replace overlay and seed by fresh ones, start those that were running. */
export function planReset(
  members: readonly MarkedMember[],
  fleetId: string,
  { start, wasOn, withSeeds, redefines = false }: ResetPolicy,
): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name } = member;
    // A reset that redefines may have been interrupted between undefine and define.
    if (domain === undefined && !redefines) {
      plan.refused.push({ name, reason: 'it has no domain', hint: 'Run "cowherd spawn" again: it creates what is missing.' });
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
  /** Overlays keep the guests' changes: each is rebased to the new base image. */
  keepDrift: boolean;
}

/** Rebase: like a reset with another base image, which requires new definitions; or rebases the overlays of stopped members. */
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
      refuse(
        domain === undefined ? 'it has no domain' : 'its overlay is missing',
        'Run "cowherd spawn" again: it creates what is missing.',
      );
    } else if (isForeign(member, fleetId)) {
      plan.refused.push(foreignReason(member));
    } else if (isOn(domain)) {
      refuse('it is running, and its overlay is to be kept', `Stop it first: cowherd stop ${domain.name.replace(/-\d+$/, '')} ${index}`);
    } else if (domain.reason === 'saved') {
      refuse(
        'it has saved memory, which belongs to the old base image',
        `Start it and stop it: virsh start ${name}; virsh shutdown ${name}`,
      );
    } else {
      const start: StepName[] = policy.start === 'all' ? ['start'] : [];
      plan.members.push({ index, name, steps: ['rebase', 'define', ...start], why: 'rebase, drift kept', atNextStart: false });
    }
  }
  return plan;
}

/** A domain's XML names the backing chain of its overlay. */
function withDefine(steps: readonly StepName[]): StepName[] {
  return [...steps.filter((step) => step !== 'start'), 'define', ...steps.filter((step) => step === 'start')];
}

export function planTeardown(members: readonly MarkedMember[], fleetId: string): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name } = member;
    const isOthers = isForeign(member, fleetId);
    if (isOthers && domain?.uuid === member.uuid) {
      // Renamed, or its mark is missing: it may have the member's overlay open.
      plan.refused.push(foreignReason(member));
      continue;
    }
    // A foreign domain with the member's name is not touched; the member's own files are still removed.
    const own = domain !== undefined && !isOthers;
    const steps: StepName[] = own && isOn(domain) ? ['stop', 'undefine', 'unlink'] : own ? ['undefine', 'unlink'] : ['unlink'];
    plan.members.push({ index, name, steps, why: 'teardown', atNextStart: false });
  }
  return plan;
}

/** Pause reasons that only a user ends. The others are brief and end by themselves. */
export const resumable: ReadonlySet<string> = new Set(['by the user', 'I/O error', 'watchdog', 'from snapshot']);

/** Start: starts stopped members and resumes paused ones. Stop: shuts down running ones. */
export function planPower(members: readonly MarkedMember[], fleetId: string, verb: 'start' | 'stop'): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { domain, index, name, overlayBytes, missingDisks } = member;
    if (domain === undefined) {
      plan.refused.push({ name, reason: 'it has no domain', hint: 'Run "cowherd spawn" again: it creates what is missing.' });
    } else if (isForeign(member, fleetId)) {
      plan.refused.push(foreignReason(member));
    } else if (verb === 'start' && domain.state === 'paused' && domain.reason === 'guest crashed') {
      plan.refused.push({
        name,
        reason: 'its guest crashed and was kept for inspection',
        hint: 'Force it off (cowherd stop --force), or reset it.',
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
