import pLimit from 'p-limit';
import { CowherdError, type ErrorReport, reportOf } from '../core/errors.js';
import { type GuestText, guestText } from '../core/guest/text.js';
import { selectMembers } from '../core/selection.js';
import type { Ports } from '../ports.js';
import { Endpoints } from './endpoints.js';
import { isAborted } from './engine.js';
import { defaultConcurrency, loadFleet, verifyWork, type WorkOptions } from './fleet-access.js';
import { type GuestRunResult, runInGuest, type Transport } from './guest-run.js';
import { membersThatAreOn, offError } from './members.js';

export interface ExecOptions extends WorkOptions {
  fleet: string;
  /** Names, numbers or ranges; all members where there are none. */
  members?: readonly string[] | undefined;
  /** A program and its arguments; a single word is a line for the guest's shell. */
  command: readonly string[];
  via?: Transport | undefined;
  /** For each member. */
  timeoutMs?: number | undefined;
}

export interface MemberExec {
  index: number;
  name: string;
  via: 'agent' | 'ssh' | null;
  /** null where it did not run, or how it ended is not known. */
  exitCode: number | null;
  /** A guest wrote it: see {@link GuestText}. */
  stdout: GuestText;
  stderr: GuestText;
  /** Output beyond what is kept was dropped. */
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

export const defaultExecMs = 60_000;
/** Kept of one member's output, and of all together: bytes of each stream. */
const keptOfOne = 1024 * 1024;
const keptOfAll = 64 * 1024 * 1024;

/** Runs a command in many guests at once. One that fails, or cannot be reached, does not keep the others from it. */
export async function exec(ports: Ports, options: ExecOptions): Promise<ExecOutcome> {
  const { command, signal, onProgress } = options;
  if (command.length === 0 || command[0] === '') {
    throw new CowherdError('BAD_USAGE', 'No command given', { hint: 'Put it after two hyphens: cowherd exec lab -- uname -a' });
  }
  verifyWork(options);
  const record = await loadFleet(ports, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  const running = await membersThatAreOn(ports, record);
  const endpoints = new Endpoints(ports, record);
  const limit = pLimit(options.concurrency ?? defaultConcurrency);
  const argv = commandOf(command);
  const keepBytes = Math.min(keptOfOne, Math.floor(keptOfAll / chosen.length));
  let done = 0;
  const members = await Promise.all(
    chosen.map((member) =>
      limit(async (): Promise<MemberExec> => {
        const { index, name } = member;
        try {
          if (isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted before it ran in ${name}`);
          if (!running.has(name)) throw offError(member);
          const result = await runInGuest(ports, endpoints, member, argv, {
            via: options.via ?? 'auto',
            timeoutMs: options.timeoutMs ?? defaultExecMs,
            keepBytes,
            signal,
          });
          return { index, name, ...outputOf(result) };
        } catch (error) {
          return {
            index,
            name,
            via: null,
            exitCode: null,
            stdout: guestText(''),
            stderr: guestText(''),
            truncated: false,
            error: reportOf(error),
          };
        } finally {
          onProgress?.({ kind: 'stage', stage: 'exec', done: ++done, total: chosen.length });
        }
      }),
    ),
  );
  const ok = members.filter((member) => member.exitCode === 0).length;
  return {
    fleet: record.name,
    command: [...command],
    counts: { ok, failed: members.length - ok },
    interrupted: isAborted(signal),
    members,
  };
}

/** One word is what people type at a prompt; several are a program and its arguments, which no shell gets to see. */
export function commandOf(words: readonly string[]): string[] {
  const [only = ''] = words;
  return words.length === 1 && /[^\w@%+=:,./-]/.test(only) ? ['sh', '-c', only] : [...words];
}

function outputOf({ via, exitCode, stdout, stderr, truncated }: GuestRunResult): Omit<MemberExec, 'index' | 'name'> {
  return { via, exitCode, stdout, stderr, truncated };
}

/** 0 all succeeded, 4 some failed, 130 interrupted. */
export function exitCodeOfExec({ counts, interrupted }: ExecOutcome): number {
  if (interrupted) return 130;
  return counts.failed > 0 ? 4 : 0;
}
