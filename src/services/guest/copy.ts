import { join } from 'node:path';
import pLimit from 'p-limit';
import { CowherdError, type ErrorReport, reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { Target } from '../../core/fleet/selection/targets.js';
import { baseName, type CopyPlan, planCopy } from '../../core/guest/copy.js';
import type { Ports } from '../../ports/index.js';
import { assertWork, defaultConcurrency, type WorkOptions } from '../fleet/access.js';
import { offError } from '../fleet/members.js';
import { findTargets } from '../fleet/targets.js';
import { isAborted } from '../run/member-executor.js';
import { copyByAgent } from './agent-files.js';
import { type GuestEndpoints, type GuestPorts, localGuests, type OpenGuests } from './guests.js';
import type { Transport } from './run.js';

export interface CopyRequest extends WorkOptions {
  source: string;
  destination: string;
  /** A fleet file that names the fleets; the path in the guests is then `:/path`. */
  file?: string | undefined;
  /** Only these members of the fleet. */
  members?: readonly string[] | undefined;
  recursive?: boolean | undefined;
  via?: Transport | undefined;
  /** Per member. */
  timeoutMs?: number | undefined;
}

export interface MemberCopy {
  index: number;
  name: string;
  via: 'agent' | 'ssh' | null;
  ok: boolean;
  /** The path that was written. */
  path: string;
  error?: ErrorReport;
}

export interface CopyOutcome {
  fleet: string;
  direction: CopyPlan['direction'];
  counts: { ok: number; failed: number };
  interrupted: boolean;
  members: MemberCopy[];
}

const defaultCopyMs = 10 * 60_000;
const bannerMs = 3_000;

/** Copies a file into guests or from them. From a whole fleet, it copies into one directory per member. */
export async function copy(ports: Ports, request: CopyRequest): Promise<CopyOutcome> {
  const [outcome, ...others] = await copyInFleets(ports, request);
  if (outcome === undefined || others.length > 0) {
    throw new CowherdError('BAD_USAGE', 'Several fleets given, but this function copies for one', {
      hint: 'Call copyInFleets, or copy once per fleet.',
    });
  }
  return outcome;
}

/** As {@link copy}, with members of several fleets at the same time. @returns an outcome for each fleet, in their order */
export function copyInFleets(ports: Ports, request: CopyRequest): Promise<CopyOutcome[]> {
  return copyInGuests(ports, localGuests(ports), request);
}

/** As {@link copyInFleets}, on any engine. */
export async function copyInGuests(ports: GuestPorts, open: OpenGuests, request: CopyRequest): Promise<CopyOutcome[]> {
  assertWork(request);
  const plan = planCopy(request.source, request.destination, request.file !== undefined);
  const targets = await targetsOf(ports, plan, request);
  await assertLocal(ports, plan, request.recursive === true);
  const [only] = targets;
  // A single member that was named: copy directly to the given path.
  const isDirect = targets.length === 1 && only?.members.length === 1 && only.members[0] === plan.target;
  const fleets = await Promise.all(
    targets.map(async ({ fleet, members }) => {
      const guests = await open(fleet);
      return { ...guests, chosen: selectMembers(guests.record.name, guests.record.members, members) };
    }),
  );
  const total = fleets.reduce((sum, { chosen }) => sum + chosen.length, 0);
  const limit = pLimit(request.concurrency ?? defaultConcurrency);
  let done = 0;
  return Promise.all(
    fleets.map(async ({ record, running, endpoints, chosen }): Promise<CopyOutcome> => {
      const members = await Promise.all(
        chosen.map((member) =>
          limit(async (): Promise<MemberCopy> => {
            const result = await copyMember(ports, { plan, endpoints, member, isDirect, isOn: running.has(member.name) }, request);
            request.onProgress?.({ kind: 'stage', stage: 'copy', done: ++done, total });
            return result;
          }),
        ),
      );
      const ok = members.filter((result) => result.ok).length;
      const counts = { ok, failed: members.length - ok };
      return { fleet: record.name, direction: plan.direction, counts, interrupted: isAborted(request.signal), members };
    }),
  );
}

interface CopyPlace {
  plan: CopyPlan;
  endpoints: GuestEndpoints;
  member: MemberIdentity;
  /** Copy without a directory of the member's name. */
  isDirect: boolean;
  isOn: boolean;
}

/** Never throws: failures are results. */
async function copyMember(
  ports: GuestPorts,
  { plan, endpoints, member, isDirect, isOn }: CopyPlace,
  request: CopyRequest,
): Promise<MemberCopy> {
  const { index, name } = member;
  const isFetched = plan.direction === 'from';
  const local = !isDirect && isFetched ? join(plan.local, name, baseName(plan.remote)) : plan.local;
  const path = isFetched ? local : plan.remote;
  try {
    if (isAborted(request.signal)) throw new CowherdError('INTERRUPTED', `Interrupted before copying for ${name}`);
    if (!isOn) throw offError(member);
    if (!isDirect && isFetched) await ports.files.makeDirectory(join(plan.local, name));
    return { index, name, via: await copyOne(ports, endpoints, member, { ...plan, local }, request), ok: true, path };
  } catch (error) {
    return { index, name, via: null, ok: false, path, error: reportOf(error) };
  }
}

/** @throws BAD_USAGE, FLEET_NOT_FOUND, MEMBER_NOT_FOUND */
async function targetsOf(ports: GuestPorts, { target }: CopyPlan, { members = [], file }: CopyRequest): Promise<Target[]> {
  const targets = await findTargets(ports, target === '' ? [] : [target], file);
  const [only, ...others] = targets;
  if (members.length === 0 || only === undefined) return targets;
  if (others.length === 0 && only.members.length === 0) return [{ ...only, members: [...members] }];
  throw new CowherdError('BAD_USAGE', 'Members can be selected in one fleet only', {
    hint: `Name them in full: ${only.fleet}-001,${only.fleet}-002:/path`,
  });
}

/** @throws FILE_NOT_FOUND, BAD_USAGE before anything is copied */
async function assertLocal(ports: Pick<Ports, 'files'>, { direction, local }: CopyPlan, recursive: boolean): Promise<void> {
  if (direction === 'from') return;
  const kind = await ports.files.kind(local);
  if (kind === 'missing') throw new CowherdError('FILE_NOT_FOUND', `File ${local} not found`, { hint: 'Check the path.' });
  if (kind === 'directory' && !recursive)
    throw new CowherdError('BAD_USAGE', `${local} is a directory`, { hint: 'Add --recursive to copy the directory.' });
}

async function copyOne(
  ports: GuestPorts,
  endpoints: GuestEndpoints,
  member: MemberIdentity,
  { direction, local, remote }: CopyPlan,
  { via = 'auto', recursive = false, timeoutMs = defaultCopyMs, signal }: CopyRequest,
): Promise<'agent' | 'ssh'> {
  const chosen = via === 'auto' ? await bestWay(ports, endpoints, member) : via;
  if (chosen === 'ssh') {
    await ports.remote.copy(await endpoints.ssh(member), { direction, local, remote, recursive, timeoutMs, signal });
    return 'ssh';
  }
  if (recursive) {
    throw new CowherdError('GUEST_UNREACHABLE', `The agent of ${member.name} can only copy single files, and its sshd does not answer`, {
      hint: 'Copy a tar file, or start sshd in the guest with cowherd exec.',
    });
  }
  await copyByAgent(ports, member, { direction, local, remote }, { timeoutMs, signal });
  return 'agent';
}

/** ssh if it answers, since it handles large files; otherwise the agent. */
async function bestWay(ports: GuestPorts, endpoints: GuestEndpoints, member: MemberIdentity): Promise<'agent' | 'ssh'> {
  const where = await endpoints.host(member);
  if (where === undefined) return 'agent';
  return (await ports.remote.answers(where.host, where.port, bannerMs)) ? 'ssh' : 'agent';
}

export function exitCodeOfCopy({ counts, interrupted }: CopyOutcome): number {
  if (interrupted) return 130;
  return counts.failed > 0 ? 4 : 0;
}
