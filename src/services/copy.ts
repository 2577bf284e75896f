import { join } from 'node:path';
import pLimit from 'p-limit';
import { baseName, type CopyPlan, planCopy } from '../core/copy.js';
import { CowherdError, type ErrorReport, reportOf } from '../core/errors.js';
import type { FleetRecord } from '../core/fleet.js';
import type { MemberIdentity } from '../core/identity.js';
import { selectMembers } from '../core/selection.js';
import type { Ports } from '../ports.js';
import { copyByAgent } from './agent-files.js';
import { Endpoints } from './endpoints.js';
import { isAborted } from './engine.js';
import { defaultConcurrency, verifyWork, type WorkOptions } from './fleet-access.js';
import type { Transport } from './guest-run.js';
import { findMember, membersThatAreOn, offError } from './members.js';

export interface CopyRequest extends WorkOptions {
  source: string;
  destination: string;
  /** Of a whole fleet, only these. */
  members?: readonly string[] | undefined;
  recursive?: boolean | undefined;
  via?: Transport | undefined;
  /** For each member. */
  timeoutMs?: number | undefined;
}

export interface MemberCopy {
  index: number;
  name: string;
  via: 'agent' | 'ssh' | null;
  ok: boolean;
  /** Where it was written, or fetched to. */
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

export const defaultCopyMs = 10 * 60_000;
const bannerMs = 3_000;

/** Copies a file into guests, or fetches it from them: from a whole fleet into a directory of this host, one directory per member. */
export async function copy(ports: Ports, request: CopyRequest): Promise<CopyOutcome> {
  verifyWork(request);
  const plan = planCopy(request.source, request.destination);
  const { record, members } = await targetsOf(ports, plan, request.members);
  await verifyLocal(ports, plan, request.recursive === true);
  const running = await membersThatAreOn(ports, record);
  const endpoints = new Endpoints(ports, record);
  const limit = pLimit(request.concurrency ?? defaultConcurrency);
  let done = 0;
  const results = await Promise.all(
    members.chosen.map((member) =>
      limit(async (): Promise<MemberCopy> => {
        const { index, name } = member;
        const local = members.isFleet && plan.direction === 'from' ? join(plan.local, name, baseName(plan.remote)) : plan.local;
        const path = plan.direction === 'to' ? plan.remote : local;
        try {
          if (isAborted(request.signal)) throw new CowherdError('INTERRUPTED', `Interrupted before ${name} had its turn`);
          if (!running.has(name)) throw offError(member);
          if (members.isFleet && plan.direction === 'from') await ports.files.makeDirectory(join(plan.local, name));
          return { index, name, via: await copyOne(ports, endpoints, member, { ...plan, local }, request), ok: true, path };
        } catch (error) {
          return { index, name, via: null, ok: false, path, error: reportOf(error) };
        } finally {
          request.onProgress?.({ kind: 'stage', stage: 'copy', done: ++done, total: members.chosen.length });
        }
      }),
    ),
  );
  const ok = results.filter((result) => result.ok).length;
  return {
    fleet: record.name,
    direction: plan.direction,
    counts: { ok, failed: results.length - ok },
    interrupted: isAborted(request.signal),
    members: results,
  };
}

async function targetsOf(
  ports: Ports,
  { target }: CopyPlan,
  words: readonly string[] | undefined,
): Promise<{ record: FleetRecord; members: { chosen: MemberIdentity[]; isFleet: boolean } }> {
  // A fleet may be named like a member of another; the fleet wins, as everywhere.
  const record = await ports.fleets.read(target);
  if (record !== undefined) {
    const chosen = selectMembers(record.name, record.members, words ?? []);
    return { record, members: { chosen, isFleet: true } };
  }
  const found = await findMember(ports, [target]);
  return { record: found.record, members: { chosen: [found.member], isFleet: false } };
}

/** @throws FILE_NOT_FOUND, BAD_USAGE before anything is copied */
async function verifyLocal(ports: Pick<Ports, 'files'>, { direction, local }: CopyPlan, recursive: boolean): Promise<void> {
  if (direction === 'from') return;
  const kind = await ports.files.kind(local);
  if (kind === 'missing') throw new CowherdError('FILE_NOT_FOUND', `There is no file ${local}`, { hint: 'Check the path.' });
  if (kind === 'directory' && !recursive)
    throw new CowherdError('BAD_USAGE', `${local} is a directory`, { hint: 'Add --recursive to copy all of it.' });
}

async function copyOne(
  ports: Ports,
  endpoints: Endpoints,
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
    throw new CowherdError('GUEST_UNREACHABLE', `The agent of ${member.name} takes single files only, and its ssh does not answer`, {
      hint: 'Copy a tar file, or make ssh work: cowherd exec can start sshd.',
    });
  }
  await copyByAgent(ports, member, { direction, local, remote }, { timeoutMs, signal });
  return 'agent';
}

/** ssh where it answers: it is made for large files. */
async function bestWay(ports: Ports, endpoints: Endpoints, member: MemberIdentity): Promise<'agent' | 'ssh'> {
  const where = await endpoints.host(member);
  if (where === undefined) return 'agent';
  return (await ports.remote.answers(where.host, where.port, bannerMs)) ? 'ssh' : 'agent';
}

export function exitCodeOfCopy({ counts, interrupted }: CopyOutcome): number {
  if (interrupted) return 130;
  return counts.failed > 0 ? 4 : 0;
}
