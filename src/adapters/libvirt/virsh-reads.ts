import { CowherdError } from '../../core/errors.js';
import type { SessionPool } from './session/session-pool.js';
import { connectionError, faultOf, isTimeout, silentDomain, virshError } from './session/virsh-errors.js';
import type { Reply } from './session/virsh-session.js';
import { domainWord } from './session/virsh-words.js';

/** Reads from many domains at once. */

const readBatch = 200;
/** How many domains may time out before libvirt itself is considered hung. */
const mostSilent = 3;
/** A domain that a call has been holding for so long is read last. */
const heldSeconds = 1;
/** How many such reads may wait at the same time: each occupies one of libvirtd's 20 workers. */
const heldBatch = 4;

export interface Reading {
  command(name: string): string;
  /** For messages: `read the XML of`. */
  doing: string;
  /** Whether libvirt may wait for another call that holds the domain. Such domains are read last, until one gives no answer. */
  mayWait?: boolean;
  take(name: string, reply: Reply): void;
}

/**
 * One session carries all reads of a batch, pipelined.
 * @param failed receives the errors of domains that could not be read; without it, the first error is thrown
 */
export async function readEach(
  pool: SessionPool,
  names: readonly string[],
  { command, doing, take, mayWait = false }: Reading,
  failed?: Map<string, CowherdError>,
): Promise<void> {
  let held = await heldAmong(pool, mayWait ? names : []);
  let silent = 0;
  for (let left = heldLast(names, held); left.length > 0; ) {
    const firstHeld = left.findIndex((name) => held.has(name));
    if (firstHeld === 0) return readHeld(pool, left, { command, doing, take }, failed);
    const part = left.slice(0, Math.min(readBatch, firstHeld < 0 ? readBatch : firstHeld));
    const replies = await pool.run((session) => settledReads(part.map((name) => session.run(command(name), pool.heldMs))));
    const answered = replies.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    for (const [position, reply] of answered.entries()) noting(failed, part[position] ?? '', (name) => take(name, reply));
    left = left.slice(answered.length);
    const unanswered = replies[answered.length];
    if (unanswered?.status !== 'rejected') continue;
    // The first one without an answer is the one that hangs.
    const [hung = ''] = left;
    // Other calls may have taken domains meanwhile.
    held = await heldAmong(pool, mayWait ? left : []);
    left = heldLast(left, held);
    if (held.has(hung)) continue;
    left = left.filter((name) => name !== hung);
    const silence = await silenceOf(pool, hung, doing, unanswered.reason);
    if (failed === undefined) throw silence;
    if (++silent > mostSilent) throw unanswered.reason;
    failed.set(hung, silence);
  }
}

/** Reads from domains that calls hold, each on a connection of its own, until one gives no answer. */
async function readHeld(
  pool: SessionPool,
  names: readonly string[],
  { command, doing, take }: Reading,
  failed?: Map<string, CowherdError>,
): Promise<void> {
  for (let from = 0; from < names.length; from += heldBatch) {
    const part = names.slice(from, from + heldBatch);
    const replies = await settledReads(
      part.map((name) => pool.run(async (session) => assertConnected(await session.run(command(name), pool.definitionMs)))),
    );
    for (const [position, reply] of replies.entries()) {
      const name = part[position] ?? '';
      if (reply.status === 'fulfilled') noting(failed, name, () => take(name, reply.value));
    }
    const unanswered = replies.find((reply) => reply.status === 'rejected');
    if (unanswered === undefined) continue;
    const silent = [...part.filter((_, position) => replies[position]?.status === 'rejected'), ...names.slice(from + heldBatch)];
    for (const name of silent) {
      const silence = await silenceOf(pool, name, doing, unanswered.reason);
      if (failed === undefined) throw silence;
      failed.set(name, silence);
    }
    return;
  }
}

/** @throws any error other than a time-out */
async function settledReads(reads: readonly Promise<Reply>[]): Promise<PromiseSettledResult<Reply>[]> {
  const settled = await Promise.allSettled(reads.map(async (read) => assertConnected(await read)));
  const first = settled.find((result) => result.status === 'rejected' && !isTimeout(result.reason));
  if (first?.status === 'rejected') throw first.reason;
  return settled;
}

async function silenceOf(pool: SessionPool, ref: string, doing: string, cause: CowherdError): Promise<CowherdError> {
  const name = await nameOf(pool, ref);
  return silentDomain(name, `${doing} ${name}`, cause);
}

function heldLast(names: readonly string[], held: ReadonlySet<string>): string[] {
  return [...names.filter((name) => !held.has(name)), ...names.filter((name) => held.has(name))];
}

/** Domains that a call has been holding. Asks libvirt alone; if it does not answer, the reads themselves show which domain hangs. */
async function heldAmong(pool: SessionPool, names: readonly string[]): Promise<Set<string>> {
  const held = new Set<string>();
  for (let from = 0; from < names.length; from += readBatch) {
    const batch = names.slice(from, from + readBatch);
    const replies = await pool
      .run((session) => Promise.all(batch.map((name) => session.run(`domcontrol ${domainWord(name)}`))))
      .catch((error: unknown) => {
        if (isTimeout(error)) return [];
        throw error;
      });
    for (const [position, { stdout }] of replies.entries()) {
      if (secondsHeld(stdout) >= heldSeconds) held.add(batch[position] ?? '');
    }
    if (replies.length === 0) break;
  }
  return held;
}

/** The name of a domain that was given by its UUID, as a message shows it. */
async function nameOf(pool: SessionPool, ref: string): Promise<string> {
  const reply = await pool.run((session) => session.run(`domname ${domainWord(ref)}`)).catch(() => undefined);
  return reply?.error === '' ? reply.stdout.trim() : ref;
}

/** How long a call has been waiting for a domain's QEMU, in seconds. @param text what `virsh domcontrol` prints */
export function secondsOccupied(text: string): number {
  return Number(/^occupied \(([\d.]+)s\)/.exec(text)?.[1] ?? 0);
}

/** How long a call has been holding a domain, also one that does not wait for its QEMU, such as a destroy. */
function secondsHeld(text: string): number {
  return Number(/^(?:occupied|background job) \(([\d.]+)s\)/.exec(text)?.[1] ?? 0);
}

/** Does something with what was read of a domain; where that fails, it is that domain's failure. */
function noting(failed: Map<string, CowherdError> | undefined, name: string, work: (name: string) => void): void {
  try {
    work(name);
  } catch (error) {
    if (failed === undefined || !(error instanceof CowherdError)) throw error;
    failed.set(name, error);
  }
}

/** A virsh whose daemon has ended keeps running and answers with an error: that is a lost connection. */
export function assertConnected(reply: Reply): Reply {
  if (faultOf(reply.error) === 'disconnected') throw connectionError('the daemon', reply.error);
  return reply;
}

/** Only "not found" is a valid answer. Treating another error as absence would make our own domains look foreign. */
export function assertAbsence(reply: Reply, doing: string): void {
  if (reply.error !== '' && !['domain not found', 'no metadata'].includes(faultOf(reply.error))) throw virshError(doing, reply.error);
}
