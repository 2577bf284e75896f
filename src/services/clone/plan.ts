import { basename } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { isOn, type ObservedMember } from '../../core/fleet/observation.js';
import type { Plan, StepName } from '../../core/fleet/plan/member-plan.js';
import { baseOf, type FleetRecord } from '../../core/fleet/record.js';
import { type BaseImage, formatBaseRef, sealDifferences } from '../../core/image/base.js';
import { baseKey } from '../../core/image/base-chain.js';
import type { MemoryFile, Ports } from '../../ports/index.js';
import { byName } from '../run/run-plan.js';

/** Which members resume from the memory of a warm base. */

/** Differences between the record of a warm base's memory and its files. */
export async function memoryDifferences(ports: Pick<Ports, 'memory'>, base: BaseImage): Promise<string[]> {
  const files = ports.memory.files(base);
  const differences = await Promise.all(files.map((file) => fileDifferences(ports, file)));
  const prefix = (position: number): string => (files.length === 1 ? '' : `${basename(files[position]?.path ?? '')}: `);
  return differences.flatMap((found, position) => found.map((difference) => `${prefix(position)}${difference}`));
}

/** Differences between the record of one of these files and the file. */
export async function fileDifferences({ memory }: Pick<Ports, 'memory'>, { path, seal }: MemoryFile): Promise<string[]> {
  return sealDifferences(seal, await memory.seal(path));
}

/** The warm base of a fleet, with the seal of its memory compared; undefined for fleets that boot.
 * @throws BASE_CHANGED
 */
export async function verifiedWarmBase(ports: Pick<Ports, 'memory' | 'bases'>, record: FleetRecord): Promise<BaseImage | undefined> {
  if (record.spec.warm === undefined) return undefined;
  const base = await ports.bases.get(record.base);
  const isKnown = base?.warm?.digest === record.spec.warm;
  const differences = base === undefined || !isKnown ? ['it is no longer in the record'] : await memoryDifferences(ports, base);
  if (base !== undefined && differences.length === 0) return base;
  throw new CowherdError(
    'BASE_CHANGED',
    `The memory that members of ${record.name} resume from has changed: ${differences.join(', ')}; nothing was changed`,
    {
      details: base === undefined ? [ports.memory.path(record.base)] : ports.memory.files(base).map(({ path }) => path),
      hint: `"cowherd base verify ${formatBaseRef(record.base)}" compares its content. Restore the original file, or freeze the source VM again for a new fleet: cowherd spawn NEW --from-running DOMAIN`,
    },
  );
}

/** Turns the start of members that get a fresh disk into a restore of the memory. A fresh disk is the source VM's disk at the moment of the freeze: booted from it, a guest would be a duplicate of the source VM. Members that already have such a disk and no identity of their own are refused.
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
    // If only a further disk is missing, the root disk was already written to and the memory no longer matches it.
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

/** Refuses to boot or resume duplicates: a start creates no clones. */
export function refuseDuplicates(plan: Plan, observed: readonly ObservedMember[], record: FleetRecord): Plan {
  if (record.spec.warm === undefined) return plan;
  const members = byName(observed);
  const duplicates = plan.members.flatMap(({ name }) => members.get(name) ?? []).filter((member) => isDuplicate(member, record));
  return {
    ...plan,
    members: plan.members.filter(({ name }) => !duplicates.some((member) => member.name === name)),
    refused: [...plan.refused, ...duplicates.map((member) => asDuplicate(member, record))],
  };
}

/** An unwritten disk also counts, even without the identity-pending mark. */
function isDuplicate(member: ObservedMember, record: FleetRecord): boolean {
  return member.isIdentityPending === true || isFresh(member, record);
}

/** Why such a member is neither started nor counted as unchanged, and what to do. */
export function asDuplicate({ name, index, domain }: ObservedMember, record: FleetRecord): Plan['refused'][number] {
  return {
    name,
    reason: isOn(domain)
      ? 'its identity was not regenerated: it is still a duplicate of the source VM'
      : 'its identity was not regenerated: booted from its disk, it would be a duplicate of the source VM',
    hint: `Restore it from the source VM's memory again: cowherd reset ${record.name} ${index} --start all`,
  };
}

/** Whether a stopped member's disk was never written to. */
function isFresh({ domain, overlayBytes }: ObservedMember, { freshOverlayBytes }: FleetRecord): boolean {
  return !isOn(domain) && domain?.reason !== 'saved' && overlayBytes !== undefined && overlayBytes <= freshOverlayBytes;
}
