import { type BaseImage, formatBaseRef, sealDifferences } from '../../core/base.js';
import { baseKey } from '../../core/base-chain.js';
import { CowherdError } from '../../core/errors.js';
import { baseOf, type FleetRecord } from '../../core/fleet.js';
import { isOn, type ObservedMember } from '../../core/observation.js';
import type { Plan } from '../../core/plan.js';
import type { Ports } from '../../ports.js';
import { byName } from '../change.js';

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
 * The plan with the starts of those who have a fresh disk turned into going on from the memory. Such a disk is that of the golden VM in
 * the moment when it was frozen: booted from it, a guest would be a second golden VM.
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
  const isClone = (name: string, steps: readonly string[]): boolean => {
    const member = members.get(name);
    if (member === undefined || baseKey(baseOf(record, member)) !== baseKey(record.base)) return false;
    // One that lacks a further disk alone has a first one that has moved on: that memory is not of it any more.
    return (steps.includes('overlay') && (replaces || member.overlayBytes === undefined)) || isFresh(member, record);
  };
  return {
    ...plan,
    members: plan.members.map((member) =>
      member.steps.includes('start') && isClone(member.name, member.steps)
        ? { ...member, steps: member.steps.map((step) => (step === 'start' ? 'restore' : step)) }
        : member,
    ),
  };
}

/** Refuses to boot them: a start is not journaled, and on such a disk a guest would be a second golden VM. */
export function withoutFreshClones(plan: Plan, observed: readonly ObservedMember[], record: FleetRecord): Plan {
  const changed = withClones(plan, observed, record);
  const fresh = changed.members.filter(({ steps }) => steps.includes('restore'));
  return {
    ...plan,
    members: changed.members.filter((member) => !fresh.includes(member)),
    refused: [
      ...plan.refused,
      ...fresh.map(({ name, index }) => ({
        name,
        reason: "its disk is fresh: booted from it, it would be the golden VM's double",
        hint: `Have it go on from the golden VM's memory: cowherd reset ${record.name} ${index} --start all`,
      })),
    ],
  };
}

/** Whether a member that is off has a disk that nothing was written to yet. */
export function isFresh({ domain, overlayBytes }: ObservedMember, { freshOverlayBytes }: FleetRecord): boolean {
  return !isOn(domain) && domain?.reason !== 'saved' && overlayBytes !== undefined && overlayBytes <= freshOverlayBytes;
}
