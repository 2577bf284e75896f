import pLimit from 'p-limit';
import { CowherdError, type ErrorCode } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import { isOn } from '../../core/fleet/observation.js';
import type { MarkedMember, Plan } from '../../core/fleet/plan/member-plan.js';
import { baseOf, type FleetRecord } from '../../core/fleet/record.js';
import { assertHeld, type CheckpointRecord, type CheckpointStanding, judgeCheckpoint, machineIn } from '../../core/snapshot/checkpoint.js';
import type { Ports } from '../../ports/index.js';

/** Validation of checkpoints: whether they are intact and belong to their members. */

export type WarmPorts = Pick<Ports, 'checkpoints' | 'monitor' | 'hypervisor' | 'domains' | 'fleets'>;

export type MemberStanding =
  | { kind: 'none' }
  | { kind: 'broken'; why: string }
  /** It could not be examined. */
  | { kind: 'unknown'; error: CowherdError }
  | (Exclude<CheckpointStanding, { kind: 'broken' }> & { record: CheckpointRecord });

const checkConcurrency = 16;
const broken: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['STATE_DAMAGED', 'STORE_FAILED', 'DOMAIN_CHANGED']);
/** Errors of the host, the store or this run rather than of one member. */
const globalErrors: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CONNECTION_FAILED', 'TOOL_MISSING', 'INTERRUPTED']);

/** @returns the standing of each member's checkpoint, by name */
export async function checkpointStandings(
  ports: WarmPorts,
  record: FleetRecord,
  members: readonly MarkedMember[],
): Promise<Map<string, MemberStanding>> {
  const host = await ports.hypervisor.versions();
  const limit = pLimit(checkConcurrency);
  const standings = await Promise.all(
    members.map((member) =>
      limit(async () => {
        const standing = await standingOf(ports, record, member, host).catch((error: unknown): MemberStanding => {
          if (!(error instanceof CowherdError) || globalErrors.has(error.code)) throw error;
          return broken.has(error.code) ? { kind: 'broken', why: error.message } : { kind: 'unknown', error };
        });
        return [member.name, standing] as const;
      }),
    ),
  );
  return new Map(standings);
}

async function standingOf(
  ports: WarmPorts,
  fleet: FleetRecord,
  member: MarkedMember,
  host: { libvirt: string; hypervisor: string },
): Promise<MemberStanding> {
  const { name, domain, index } = member;
  const record = await ports.checkpoints.read(fleet.name, name);
  if (record === undefined) return { kind: 'none' };
  if (domain === undefined) return { kind: 'broken', why: 'it has no domain' };
  const holds = new Map<string, boolean>();
  for (const { stem } of memberDisks(fleet, member)) {
    const tags = await ports.checkpoints.tags(ports.fleets.files(fleet.name, name).disk(stem));
    holds.set(stem, tags.includes(record.tag));
  }
  const isRunning = isOn(domain);
  const machine = await machineOf(ports, name, isRunning);
  const current = { fleetId: fleet.id, index, base: baseOf(fleet, member), holds, ...machine, ...host };
  const judged = judgeCheckpoint(record, { ...current, qemu: isRunning ? await ports.monitor.version(name) : undefined });
  return judged.kind === 'broken' ? judged : { ...judged, record };
}

/** Reads a checkpoint in full and compares its digest. Costs about 0.6 CPU seconds per GiB, once per reset.
 * @throws IMAGE_CHANGED
 */
export async function assertWhole(
  ports: WarmPorts,
  fleet: FleetRecord,
  member: MarkedMember,
  record: CheckpointRecord,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { disk } = ports.fleets.files(fleet.name, member.name);
  for (const [stem, digest] of Object.entries(record.digests))
    assertHeld(record, fleet.name, stem, (await ports.checkpoints.held(disk(stem), record.tag, signal, digest))?.digest);
}

/** @param isRunning whether to read the running machine or the one that the next start would create */
export async function machineOf(
  ports: Pick<Ports, 'domains'>,
  name: string,
  isRunning: boolean,
): Promise<{ machine: string; definition: string }> {
  const xml = await (isRunning ? ports.domains.running(name) : ports.domains.definition(name));
  if (xml === undefined)
    throw new CowherdError('DOMAIN_NOT_FOUND', `Domain ${name} was removed meanwhile`, { hint: 'List the fleets: cowherd list' });
  return machineIn(name, xml);
}

/** Refuses members with a checkpoint: a checkpoint in an overlay depends on the base image it was taken on. */
export async function withoutFrozen(ports: Pick<Ports, 'checkpoints'>, record: FleetRecord, plan: Plan): Promise<Plan> {
  const checkpoints = await ports.checkpoints.list(record.name);
  const isFrozen = ({ name }: { name: string }): boolean => checkpoints.has(name);
  const refused = plan.members.filter(isFrozen).map(({ name, index }) => ({
    name,
    reason: 'its overlay contains a checkpoint, which is based on the old base image',
    hint: `Remove the checkpoint first: cowherd checkpoint ${record.name} ${index} --drop`,
  }));
  return { ...plan, members: plan.members.filter((member) => !isFrozen(member)), refused: [...plan.refused, ...refused] };
}
