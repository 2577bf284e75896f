import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import type { BaseLookup, Platform } from '../../../core/domain/template.js';
import { CowherdError } from '../../../core/errors.js';
import { type MemberDisk, memberDisks } from '../../../core/fleet/disks.js';
import type { MarkedMember, Plan, StepName } from '../../../core/fleet/member-plan.js';
import type { MemberMark } from '../../../core/fleet/observation.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { definitionChanges } from '../../../core/spec/changes.js';
import type { Ports } from '../../../ports/index.js';
import type { SpawnContext } from './attempt.js';
import { loadTemplate, renderDefinitions } from './definitions.js';
import type { SpawnOptions } from './spawn.js';

/** What of a plan is asked for: all of it, all but starts, or only that members are defined anew and some of them started. */
export function restricted(plan: Plan, { start = true, redefine }: SpawnOptions): Plan {
  if (redefine === undefined && start) return plan;
  const starting = new Set(redefine?.starting);
  const isAsked = (step: StepName, index: number): boolean =>
    step === 'start' ? starting.has(index) : redefine === undefined || step === 'define';
  const members = plan.members.map((member) => ({ ...member, steps: member.steps.filter((step) => isAsked(step, member.index)) }));
  return {
    ...plan,
    members: members.filter((member) => member.steps.length > 0),
    unchanged: [...plan.unchanged, ...members.filter((member) => member.steps.length === 0).map((member) => member.name)],
  };
}

/**
 * What members that are defined anew were defined with, as far as that can be told: what their old template gave them no person has added.
 */
export async function earlierDefinitions(
  ports: Pick<Ports, 'fleets' | 'readFile' | 'builtInTemplate'>,
  { recorded }: Pick<SpawnContext, 'recorded'>,
  plan: Plan,
  imageOf: BaseLookup,
  platform: Platform,
  signal: AbortSignal | undefined,
): Promise<Map<string, MemberDefinition> | undefined> {
  if (recorded === undefined) return undefined;
  const names = new Set(plan.members.filter(({ steps }) => steps.includes('define')).map(({ name }) => name));
  const members = recorded.members.filter(({ name }) => names.has(name));
  if (members.length === 0) return undefined;
  // A template that is gone, or gives nothing usable any more, tells nothing.
  try {
    return await renderDefinitions(ports, recorded, members, imageOf, platform, await loadTemplate(ports, recorded, undefined), signal);
  } catch (error) {
    if (error instanceof CowherdError && error.code === 'INTERRUPTED') throw error;
    return undefined;
  }
}

/** What is there is never made anew. */
export function lackingDisks(record: FleetRecord, { overlayBytes, missingDisks = [], ...member }: MarkedMember): MemberDisk[] {
  return memberDisks(record, member).filter(({ stem }) =>
    stem === member.name ? overlayBytes === undefined : missingDisks.includes(stem),
  );
}

/** Tells what changes in a member's definition. Nearly all members of a fleet were defined with the same spec. */
export function describeChanges(
  recorded: FleetRecord | undefined,
  record: FleetRecord,
): (mark: MemberMark | undefined) => readonly string[] {
  const known = new Map<string, string[]>();
  return (mark) => {
    if (mark === undefined) return [];
    const changes = known.get(mark.spec) ?? definitionChanges(mark, recorded?.accelerator, record);
    known.set(mark.spec, changes);
    return changes;
  };
}
