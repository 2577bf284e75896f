import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import type { BaseLookup, Platform } from '../../../core/domain/template.js';
import { CowherdError } from '../../../core/errors.js';
import { type MemberDisk, memberDisks } from '../../../core/fleet/disks.js';
import type { MemberMark } from '../../../core/fleet/observation.js';
import type { MarkedMember, Plan, StepName } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { definitionChanges } from '../../../core/spec/changes.js';
import type { Ports } from '../../../ports/index.js';
import type { SpawnContext } from './context.js';
import { loadTemplate, renderDefinitions } from './input/definitions.js';
import type { SpawnOptions } from './input/options.js';

/** The requested part of a plan: all of it, all but starts, or only redefinitions and some starts. */
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

/** The previous definitions of members to redefine, if known: devices from the old template were not added by hand.
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
  // A missing or unusable template gives no previous definitions.
  try {
    return await renderDefinitions(ports, recorded, members, imageOf, platform, await loadTemplate(ports, recorded, undefined), signal);
  } catch (error) {
    if (error instanceof CowherdError && error.code === 'INTERRUPTED') throw error;
    return undefined;
  }
}

/** The disks to create: existing disks are never recreated. */
export function lackingDisks(record: FleetRecord, { overlayBytes, missingDisks = [], ...member }: MarkedMember): MemberDisk[] {
  return memberDisks(record, member).filter(({ stem }) =>
    stem === member.name ? overlayBytes === undefined : missingDisks.includes(stem),
  );
}

/** Describes what changes in a member's definition; cached, since most members were defined with the same spec. */
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
