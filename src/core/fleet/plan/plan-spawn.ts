import { foreignReason, isForeign } from '../foreign-member.js';
import { isOn, isStartingUp } from '../observation.js';
import type { MarkedMember, Plan, StepName } from './member-plan.js';

export interface SpawnSubject extends MarkedMember {
  /** Digest of the definition that the spec results in. */
  definition: string;
  /** What changes in its definition, for display; empty if unknown. */
  changes?: readonly string[];
  /** Why its seed must be written; undefined if it needs none, or has the right one. */
  seedLack?: string | undefined;
}

/**
 * The steps from the observed state to the spec: create what is missing, redefine what has changed, start what is off,
 * leave the rest. After the steps are applied, planning again gives an empty plan.
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
    const missing = missingDisks(subject);
    const obstacle = obstacleOf(subject, missing);
    if (obstacle !== undefined) {
      plan.refused.push({ name, ...obstacle });
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

function missingDisks({ name, overlayBytes, missingDisks = [] }: SpawnSubject): string[] {
  return overlayBytes === undefined ? ['overlay'] : missingDisks.map((stem) => `disk ${stem.replace(`${name}.`, '')}`);
}

/** Why a member cannot get the disks that it lacks. */
function obstacleOf(
  { name, domain, overlayBytes }: SpawnSubject,
  missing: readonly string[],
): { reason: string; hint: string } | undefined {
  if (missing.length === 0) return undefined;
  const running = isOn(domain);
  if (running && overlayBytes === undefined) {
    return {
      reason: 'its overlay is missing, and the domain is running',
      hint: 'Save what you need from the guest, then reset that member.',
    };
  }
  if (running) {
    return {
      reason: `it is running without its ${missing.join(', ')}`,
      hint: 'Stop it (cowherd stop), then run "cowherd spawn" again: it creates what is missing.',
    };
  }
  if (domain?.reason === 'saved' && overlayBytes !== undefined) {
    return {
      reason: `it has saved memory of a guest without its ${missing.join(', ')}`,
      hint: `Start it and stop it: virsh start ${name}; virsh shutdown ${name}`,
    };
  }
  return undefined;
}
