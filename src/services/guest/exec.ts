import pLimit from 'p-limit';
import { CowherdError, type ErrorReport, reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { Target } from '../../core/fleet/selection/targets.js';
import { type GuestText, guestText } from '../../core/guest/text.js';
import type { Ports } from '../../ports/index.js';
import { assertWork, defaultConcurrency, type WorkOptions } from '../fleet/access.js';
import { offError } from '../fleet/members.js';
import { isAborted } from '../run/member-executor.js';
import { type GuestEndpoints, localGuests, type OpenGuests } from './guests.js';
import { type GuestRunPorts, type GuestRunResult, runInGuest, type Transport } from './run.js';

export interface ExecOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; default: all members. */
  members?: readonly string[] | undefined;
  /** A program and its arguments; a single word is a command line for the guest's shell. */
  command: readonly string[];
  via?: Transport | undefined;
  /** Per member. */
  timeoutMs?: number | undefined;
  /** Standard input for each member: at most 1 MiB by ssh, 64 KiB by an agent. */
  input?: Uint8Array | undefined;
}

export interface MemberExec {
  index: number;
  name: string;
  via: 'agent' | 'ssh' | null;
  /** null if it did not run or its exit code is not known. */
  exitCode: number | null;
  /** Guest output: see {@link GuestText}. */
  stdout: GuestText;
  stderr: GuestText;
  /** Output beyond the limit was dropped. */
  truncated: boolean;
  error?: ErrorReport;
}

export interface ExecOutcome {
  fleet: string;
  command: string[];
  counts: { ok: number; failed: number };
  interrupted: boolean;
  members: MemberExec[];
}

const defaultExecMs = 60_000;
/** Output limits per member and in total: bytes of each stream. */
const maxBytesPerMember = 1024 * 1024;
const maxBytesInTotal = 64 * 1024 * 1024;

/** Runs a command in many guests at once. A failing or unreachable guest does not stop the others. */
export async function exec(ports: Ports, options: ExecOptions): Promise<ExecOutcome> {
  const [outcome] = await execInFleets(ports, { ...options, targets: [{ fleet: options.fleet, members: [...(options.members ?? [])] }] });
  if (outcome === undefined) throw new Error('one fleet was given, but there is no outcome');
  return outcome;
}

export interface FleetsExecOptions extends Omit<ExecOptions, 'fleet' | 'members'> {
  targets: readonly Target[];
  /** Called before anything runs, with the names of all selected members. */
  onChosen?: ((names: readonly string[]) => void) | undefined;
  /** Called with output: by ssh as it arrives, by an agent when the command has exited. */
  onOutput?: ((name: string, stream: 'stdout' | 'stderr', text: GuestText) => void) | undefined;
  /** Called when a member is done. */
  onDone?: ((member: MemberExec) => void) | undefined;
}

/** As {@link exec}, in members of several fleets at the same time. @returns an outcome for each fleet, in their order */
export function execInFleets(ports: Ports, options: FleetsExecOptions): Promise<ExecOutcome[]> {
  return execInGuests(ports, localGuests(ports), options);
}

/** As {@link execInFleets}, on any engine. */
export async function execInGuests(ports: GuestRunPorts, open: OpenGuests, options: FleetsExecOptions): Promise<ExecOutcome[]> {
  const { command, targets, signal } = options;
  if (command.length === 0 || command[0] === '') {
    throw new CowherdError('BAD_USAGE', 'No command given', { hint: 'Add it after --, for example: cowherd exec lab -- uname -a' });
  }
  assertWork(options);
  const fleets = await Promise.all(
    targets.map(async ({ fleet, members }) => {
      const guests = await open(fleet);
      return { ...guests, chosen: selectMembers(guests.record.name, guests.record.members, members) };
    }),
  );
  const total = fleets.reduce((sum, { chosen }) => sum + chosen.length, 0);
  options.onChosen?.(fleets.flatMap(({ chosen }) => chosen.map(({ name }) => name)));
  const limit = pLimit(options.concurrency ?? defaultConcurrency);
  const keepBytes = Math.min(maxBytesPerMember, Math.floor(maxBytesInTotal / Math.max(1, total)));
  let done = 0;
  return Promise.all(
    fleets.map(async ({ record, running, endpoints, chosen }): Promise<ExecOutcome> => {
      const members = await Promise.all(
        chosen.map((member) =>
          limit(async (): Promise<MemberExec> => {
            const result = await execInMember(ports, { endpoints, member, isOn: running.has(member.name), keepBytes }, options);
            options.onDone?.(result);
            options.onProgress?.({ kind: 'stage', stage: 'exec', done: ++done, total });
            return result;
          }),
        ),
      );
      const ok = members.filter((member) => member.exitCode === 0).length;
      const counts = { ok, failed: members.length - ok };
      return { fleet: record.name, command: [...command], counts, interrupted: isAborted(signal), members };
    }),
  );
}

interface Place {
  endpoints: GuestEndpoints;
  member: MemberIdentity;
  isOn: boolean;
  keepBytes: number;
}

/** Never throws: failures are results. */
async function execInMember(
  ports: GuestRunPorts,
  { endpoints, member, isOn, keepBytes }: Place,
  options: FleetsExecOptions,
): Promise<MemberExec> {
  const { index, name } = member;
  const { signal, onOutput, via = 'auto', timeoutMs = defaultExecMs, input } = options;
  try {
    if (isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted before the command ran in ${name}`);
    if (!isOn) throw offError(member);
    const result = await runInGuest(ports, endpoints, member, commandOf(options.command), {
      ...{ via, timeoutMs, keepBytes, signal, input },
      ...(onOutput === undefined ? {} : { onOutput: (stream, text) => onOutput(name, stream, text) }),
    });
    return { index, name, ...outputOf(result) };
  } catch (error) {
    const nothing = { stdout: guestText(''), stderr: guestText(''), truncated: false };
    return { index, name, via: null, exitCode: null, ...nothing, error: reportOf(error) };
  }
}

/** A single word runs in a shell; several words are a program and its arguments, without a shell. */
export function commandOf(words: readonly string[]): string[] {
  const [only = ''] = words;
  return words.length === 1 && /[^\w@%+=:,./-]/.test(only) ? ['sh', '-c', only] : [...words];
}

function outputOf({ via, exitCode, stdout, stderr, truncated }: GuestRunResult): Omit<MemberExec, 'index' | 'name'> {
  return { via, exitCode, stdout, stderr, truncated };
}

/** 0 all succeeded, 4 some failed, 130 interrupted. */
export function exitCodeOfExec({ counts, interrupted }: Pick<ExecOutcome, 'counts' | 'interrupted'>): number {
  if (interrupted) return 130;
  return counts.failed > 0 ? 4 : 0;
}
