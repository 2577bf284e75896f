import { CowherdError } from '../../core/errors.js';
import type { Plan, StepName } from '../../core/fleet/member-plan.js';
import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import { baseOf, type FleetRecord } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef, sealDifferences } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import { byName } from '../run/run-plan.js';

/** Who is to go on from a memory, and from which. */

/** What differs between the record of a warm base's memory and its file. */
export async function memoryDifferences(ports: Pick<Ports, 'memory'>, base: BaseImage): Promise<string[]> {
  return base.warm === undefined ? [] : sealDifferences(base.warm.seal, await ports.memory.seal(base));
}

/**
 * The warm base of a fleet, with the seal of its memory compared; undefined for a fleet whose members boot.
 * @throws BASE_CHANGED
 */
export async function verifiedWarmBase(ports: Pick<Ports, 'memory' | 'bases'>, record: FleetRecord): Promise<BaseImage | undefined> {
  if (record.spec.warm === undefined) return undefined;
  const base = await ports.bases.get(record.base);
  const isKnown = base?.warm?.digest === record.spec.warm;
  const differences = base === undefined || !isKnown ? ['it is not in the record any more'] : await memoryDifferences(ports, base);
  if (base !== undefined && differences.length === 0) return base;
  throw new CowherdError(
    'BASE_CHANGED',
    `The memory that members of ${record.name} go on from is not what was frozen: ${differences.join(', ')}; nothing was changed`,
    {
      details: [ports.memory.path(record.base)],
      hint: `"cowherd base verify ${formatBaseRef(record.base)}" compares its content. Bring back the file as it was, or freeze the golden VM again for a new fleet: cowherd spawn NEW --from-running DOMAIN`,
    },
  );
}

/**
 * The plan with the starts of those who get a fresh disk turned into going on from the memory. Such a disk is that of the golden VM in
 * the moment when it was frozen: booted from it, a guest would be a second golden VM, and so those are refused that have one already
 * and were not made themselves.
 * @param options.replaces whether an overlay step gives a fresh disk in place of a used one, as a reset does
 */
export function withClones(
  plan: Plan,
  observed: readonly ObservedMember[],
  record: FleetRecord,
  { replaces = false }: { replaces?: boolean } = {},
): Plan {
  if (record.spec.warm === undefined) return plan;
  const members = byName(observed);
  const refused: ObservedMember[] = [];
  const planned = plan.members.flatMap((planned) => {
    const member = members.get(planned.name);
    const { steps } = planned;
    if (member === undefined || baseKey(baseOf(record, member)) !== baseKey(record.base)) return [planned];
    // One that lacks a further disk alone has a first one that has moved on: that memory is not of it any more.
    const isGivenDisk = steps.includes('overlay') && (replaces || member.overlayBytes === undefined);
    const isUntouched = member.isIdentityPending === true && isFresh(member, record);
    if (isGivenDisk || isUntouched) {
      return [{ ...planned, steps: steps.map((step): StepName => (step === 'start' ? 'restore' : step)) }];
    }
    if (!isDuplicate(member, record) || (!isOn(member.domain) && !steps.includes('start'))) return [planned];
    refused.push(member);
    return [];
  });
  const running = plan.unchanged
    .flatMap((name) => members.get(name) ?? [])
    .filter((member) => member.isIdentityPending && isOn(member.domain));
  return {
    ...plan,
    members: planned,
    unchanged: plan.unchanged.filter((name) => !running.some((member) => member.name === name)),
    refused: [...plan.refused, ...[...refused, ...running].map((member) => asDuplicate(member, record))],
  };
}

/** Refuses to boot them, or to let them go on: a start makes no clones. */
export function refuseDuplicates(plan: Plan, observed: readonly ObservedMember[], record: FleetRecord): Plan {
  if (record.spec.warm === undefined) return plan;
  const members = byName(observed);
  const doubles = plan.members.flatMap(({ name }) => members.get(name) ?? []).filter((member) => isDuplicate(member, record));
  return {
    ...plan,
    members: plan.members.filter(({ name }) => !doubles.some((member) => member.name === name)),
    refused: [...plan.refused, ...doubles.map((member) => asDuplicate(member, record))],
  };
}

/** A disk that nothing was written to counts too, whatever has become of the note that says so. */
function isDuplicate(member: ObservedMember, record: FleetRecord): boolean {
  return member.isIdentityPending === true || isFresh(member, record);
}

/** Why such a member is neither started nor counted, and what to do. */
export function asDuplicate({ name, index, domain }: ObservedMember, record: FleetRecord): Plan['refused'][number] {
  return {
    name,
    reason: isOn(domain)
      ? "it was not made itself: it is the golden VM's double"
      : "it was not made itself: booted from its disk, it would be the golden VM's double",
    hint: `Have it go on from the golden VM's memory again: cowherd reset ${record.name} ${index} --start all`,
  };
}

/** Whether a member that is off has a disk that nothing was written to yet. */
function isFresh({ domain, overlayBytes }: ObservedMember, { freshOverlayBytes }: FleetRecord): boolean {
  return !isOn(domain) && domain?.reason !== 'saved' && overlayBytes !== undefined && overlayBytes <= freshOverlayBytes;
}
