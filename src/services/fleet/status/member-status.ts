import type { MemberMemory } from '../../../core/fleet/memory.js';
import { type DomainState, judgeMember, type MemberState, type ObservedMember } from '../../../core/fleet/observation.js';
import { type BaseRef, baseOf, type FleetRecord } from '../../../core/fleet/record.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { baseKey } from '../../../core/image/base-chain.js';
import type { CheckpointRecord } from '../../../core/snapshot/checkpoint.js';
import type { QemuProcess } from '../../../ports/machine.js';

/** The row of a member in the status of its fleet. */

export interface MemberStatus {
  index: number;
  name: string;
  uuid: string;
  mac: string;
  /** Address on its network: reported by the agent, otherwise reserved or leased. */
  address: string | null;
  /** Port of 127.0.0.1 that is forwarded to its port 22. */
  sshPort: number | null;
  state: MemberState;
  /** libvirt's reason for the state. */
  reason: string;
  /** null if the platform does not report it. */
  overlayBytes: number | null;
  /** null if the platform does not report it. */
  driftBytes: number | null;
  /** Time of the checkpoint for "reset --warm"; null without one. */
  checkpointAt: string | null;
  /** Seconds since QEMU started; null if it is stopped or not visible. */
  uptimeSeconds: number | null;
  /** Memory use of its QEMU, if requested; null if it is stopped. */
  memory?: MemberMemory | null;
  /** NAME@DIGEST of the base image of its root disk. */
  base: string;
  /** Whether the store or other members have a newer base image of its lineage. */
  outdated: boolean;
  problems: string[];
  /** What to do about a guest that stopped or was paused unexpectedly. */
  hint: string | null;
}

/** What was read of a fleet. */
export interface FleetReadings {
  record: FleetRecord;
  /** By base image; null if it has no problem. */
  problemOf: ReadonlyMap<string, string | null>;
  newest: BaseImage | undefined;
  checkpoints: ReadonlyMap<string, CheckpointRecord>;
  processes: ReadonlyMap<string, QemuProcess>;
  addresses: ReadonlyMap<string, string>;
  sharing: ReadonlyMap<string, string[]>;
  /** Causes of I/O errors, by the UUID of the paused domain. */
  stalled: ReadonlyMap<string, string | undefined>;
  memory: ReadonlyMap<string, MemberMemory> | undefined;
  /** Milliseconds since the epoch. */
  now: number;
}

export function memberStatus(readings: FleetReadings, member: ObservedMember): MemberStatus {
  const { record, checkpoints, newest } = readings;
  const checkpoint = checkpoints.get(member.name);
  const isBroken = (ref: BaseRef): boolean => typeof readings.problemOf.get(baseKey(ref)) === 'string';
  const changed = [baseOf(record, member), ...record.spec.disks.flatMap((disk) => disk.base ?? [])].some(isBroken);
  const { index, name, uuid, macs, sshPort, state, reason, overlayBytes, driftBytes, problems, hint } = judgeMember(
    member,
    // A checkpoint does not count as drift.
    record.freshOverlayBytes + (checkpoint?.allocatedBytes ?? 0),
    changed ? 'base changed' : undefined,
  );
  const since = readings.processes.get(uuid)?.startedAt;
  return {
    index,
    name,
    uuid,
    mac: macs[0] ?? '',
    address: readings.addresses.get(name) ?? null,
    sshPort: sshPort ?? null,
    state,
    reason,
    overlayBytes: overlayBytes ?? 0,
    driftBytes,
    checkpointAt: checkpoint?.takenAt ?? null,
    uptimeSeconds: since === undefined ? null : Math.max(0, Math.round((readings.now - since) / 1000)),
    ...(readings.memory === undefined ? {} : { memory: readings.memory.get(name) ?? null }),
    base: formatBaseRef(baseOf(record, member)),
    outdated: newest !== undefined && baseOf(record, member).digest !== newest.digest,
    problems: [...problems, ...stallOf(readings, member.domain), ...(readings.sharing.get(name) ?? [])],
    hint: hint ?? null,
  };
}

function stallOf({ stalled }: FleetReadings, domain: DomainState | undefined): string[] {
  if (domain === undefined || !stalled.has(domain.uuid)) return [];
  const why = stalled.get(domain.uuid);
  return [`paused by an I/O error${why === undefined ? '' : ` (${why})`}`];
}
