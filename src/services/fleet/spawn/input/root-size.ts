import prettyBytes from 'pretty-bytes';
import type { BaseLookup } from '../../../../core/domain/template.js';
import { CowherdError } from '../../../../core/errors.js';
import { memberDisks, originBytes } from '../../../../core/fleet/disks.js';
import type { MemberIdentity } from '../../../../core/fleet/identity.js';
import type { MarkedMember, MemberPlan, Plan, StepName } from '../../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../../core/fleet/record.js';
import { formatIndexes } from '../../../../core/fleet/selection/selection.js';
import type { BaseImage } from '../../../../core/image/base.js';
import type { GivenSpec } from '../../../../core/spec/spec.js';
import type { Ports } from '../../../../ports/index.js';
import { paced } from '../../../run/pace.js';

/** Virtual size of the root disks: at least that of the base image, and never shrinking. */

type DiskPorts = Pick<Ports, 'fleets' | 'disks'>;

/** @throws BAD_USAGE if disks would be smaller than their base image or than they are now */
export function assertRootSize({ rootBytes }: GivenSpec, recorded: FleetRecord | undefined, base: BaseImage): void {
  if (rootBytes === undefined) return;
  const asked = format(rootBytes);
  if (rootBytes < base.virtualBytes) {
    throw new CowherdError('BAD_USAGE', `A disk of ${asked} is smaller than its base image ${base.name} (${format(base.virtualBytes)})`, {
      hint: `Use --disk-size ${inMiB(base.virtualBytes)} or more, or omit it.`,
    });
  }
  const now = recorded?.spec.rootBytes;
  if (recorded === undefined || now === undefined || rootBytes >= now) return;
  throw new CowherdError('BAD_USAGE', `The disks of fleet ${recorded.name} have ${format(now)} and cannot shrink to ${asked}`, {
    hint: `Use --disk-size ${inMiB(now)} or more, or create another fleet.`,
  });
}

/** Adds a grow step for members whose disk is smaller than the spec. Running guests see the new size at once. */
export async function withGrowth(ports: DiskPorts, record: FleetRecord, observed: readonly MarkedMember[], plan: Plan): Promise<Plan> {
  const { rootBytes } = record.spec;
  if (rootBytes === undefined) return plan;
  const refused = new Set(plan.refused.map(({ name }) => name));
  const sizes = await rootSizes(ports, record, observed);
  const planned = new Map(plan.members.map((member) => [member.name, member]));
  const result: Plan = { members: [], unchanged: [], refused: [...plan.refused] };
  for (const { name, index, domain } of observed) {
    if (refused.has(name)) continue;
    const member = planned.get(name) ?? { index, name, steps: [], why: '', atNextStart: false };
    const size = sizes.get(name);
    if (size === undefined || size >= rootBytes || member.steps.includes('overlay')) {
      if (planned.has(name)) result.members.push(member);
      else result.unchanged.push(name);
    } else if (domain?.reason === 'saved') {
      result.refused.push({
        name,
        reason: `it has saved memory, which expects a disk of ${format(size)}`,
        hint: `Start it and stop it: virsh start ${name}; virsh shutdown ${name}`,
      });
    } else result.members.push(grown(member, `disk of ${format(size)} instead of ${format(rootBytes)}`));
  }
  return result;
}

function grown(member: MemberPlan, why: string): MemberPlan {
  const at = member.steps.findIndex((step) => step === 'start' || step === 'restore');
  const position = at < 0 ? member.steps.length : at;
  const steps: StepName[] = [...member.steps.slice(0, position), 'grow', ...member.steps.slice(position)];
  return { ...member, steps, why: [member.why, why].filter((word) => word !== '').join(', ') };
}

/** Notes about growing disks. */
export function growthNotes(
  { members }: Plan,
  { rootBytes = 0 }: FleetRecord['spec'],
  checkpoints: ReadonlyMap<string, unknown>,
): string[] {
  const grownMembers = members.filter(({ steps }) => steps.includes('grow'));
  const growing = grownMembers.map(({ index }) => index);
  if (growing.length === 0) return [];
  const frozen = grownMembers.filter(({ name }) => checkpoints.has(name)).map(({ index }) => index);
  return [
    `the disks of members ${formatIndexes(growing)} grow to ${format(rootBytes)}: guests can use the space after they enlarge the partition and file system, as cloud-init does at boot`,
    ...(frozen.length === 0 ? [] : [`the checkpoints of members ${formatIndexes(frozen)} are removed: they belong to the smaller disks`]),
  ];
}

/** Refuses members whose disk is larger than a fresh one, for example after qemu-img resize. */
export async function withoutEnlarged(
  ports: DiskPorts,
  record: FleetRecord,
  members: readonly MemberIdentity[],
  plan: Plan,
  imageOf: BaseLookup,
): Promise<Plan> {
  const enlarged = await enlargedMembers(ports, record, members, imageOf);
  return {
    ...plan,
    members: plan.members.filter(({ name }) => !enlarged.has(name)),
    refused: [
      ...plan.refused,
      ...[...enlarged].map(([name, size]) => ({
        name,
        reason: `its disk has ${format(size)}; a fresh one would be smaller`,
        hint: `Enlarge all disks of the fleet, then reset again: cowherd spawn ${record.name} --disk-size ${inMiB(size)}`,
      })),
    ],
  };
}

/** For a fleet that gets fresh disks on another base image.
 * @throws PREFLIGHT_FAILED
 */
export async function assertNoneEnlarged(ports: DiskPorts, record: FleetRecord, imageOf: BaseLookup): Promise<void> {
  const enlarged = await enlargedMembers(ports, record, record.members, imageOf);
  if (enlarged.size === 0) return;
  const largest = Math.max(...enlarged.values());
  throw new CowherdError('PREFLIGHT_FAILED', 'Enlarged disks would shrink; nothing was changed', {
    details: [...enlarged].slice(0, 10).map(([name, size]) => `${name}: ${format(size)}`),
    hint: `Enlarge all disks of the fleet, then rebase again: cowherd spawn ${record.name} --disk-size ${inMiB(largest)}. Or keep their changes: --keep-drift`,
  });
}

/** Sizes of disks that are larger than a fresh one on their base image, by member name. */
async function enlargedMembers(
  ports: DiskPorts,
  record: FleetRecord,
  members: readonly MemberIdentity[],
  imageOf: BaseLookup,
): Promise<Map<string, number>> {
  const sizes = await rootSizes(ports, record, members);
  const enlarged = members.flatMap((member): Array<[string, number]> => {
    const size = sizes.get(member.name);
    const [first] = memberDisks(record, member);
    return size === undefined || first === undefined || size <= originBytes(first.origin, imageOf) ? [] : [[member.name, size]];
  });
  return new Map(enlarged);
}

/** Sizes from the headers of the files. Unreadable files are skipped: other checks report them. */
async function rootSizes(
  { fleets, disks }: DiskPorts,
  record: FleetRecord,
  members: readonly MemberIdentity[],
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  const pace = paced(undefined);
  for (const { name } of members) {
    await pace();
    const header = await disks.qcow2Header(fleets.files(record.name, name).overlay).catch(() => undefined);
    if (header !== undefined) sizes.set(name, Number(header.virtualBytes));
  }
  return sizes;
}

function format(bytes: number): string {
  return prettyBytes(bytes, { binary: true });
}

/** In the format of --disk-size. */
function inMiB(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)}MiB`;
}
