import { CowherdError } from '../../core/errors.js';
import type { SessionPool } from './session/session-pool.js';
import { connectionError, faultOf, isTimeout, silentDomain, virshError } from './session/virsh-errors.js';
import type { Reply } from './session/virsh-session.js';
import { domainWord } from './session/virsh-words.js';

/** Reads from many domains at once. */

const readBatch = 200;
/** How many domains may time out before libvirt itself is considered hung. */
const mostSilent = 3;
/** Newer releases of libvirt do not even read the definition of a domain that a call has been holding for so long. */
const heldSeconds = 1;

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
  const silence = (name: string, cause: CowherdError): CowherdError => silentDomain(name, `${doing} ${name}`, cause);
  const held = mayWait ? await heldDomains(pool, names) : new Set<string>();
  let silent = 0;
  for (let left = [...names.filter((name) => !held.has(name)), ...names.filter((name) => held.has(name))]; left.length > 0; ) {
    const free = left.findIndex((name) => held.has(name));
    // One at a time: each blocked read occupies one of libvirtd's few workers.
    const part = left.slice(0, free === 0 ? 1 : Math.min(readBatch, free < 0 ? readBatch : free));
    const replies = await pool.run(async (session) => {
      const settled = await Promise.allSettled(part.map(async (name) => assertConnected(await session.run(command(name), pool.heldMs))));
      const first = settled.find((result) => result.status === 'rejected');
      if (first !== undefined && !isTimeout(first.reason)) throw first.reason;
      return settled;
    });
    const answered = replies.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    for (const [position, reply] of answered.entries()) noting(failed, part[position] ?? '', (name) => take(name, reply));
    left = left.slice(answered.length);
    const unanswered = replies[answered.length];
    if (unanswered?.status !== 'rejected') continue;
    // The first one without an answer is the one that hangs.
    const [hung = ''] = left.splice(0, 1);
    if (failed === undefined) throw silence(await nameOf(pool, hung), unanswered.reason);
    if (++silent > mostSilent) throw unanswered.reason;
    failed.set(hung, silence(hung, unanswered.reason));
    if (!held.has(hung)) continue;
    for (const name of left) failed.set(name, silence(name, unanswered.reason));
    return;
  }
}

/** Domains whose QEMU a call has been waiting for. Asks libvirt alone; if it does not answer, the reads themselves show which domain hangs. */
async function heldDomains(pool: SessionPool, names: readonly string[]): Promise<Set<string>> {
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
      if (occupiedSeconds(stdout) >= heldSeconds) held.add(batch[position] ?? '');
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

/** How long a call has been waiting for a domain's QEMU. @param text what `virsh domcontrol` prints */
export function occupiedSeconds(text: string): number {
  return Number(/^occupied \(([\d.]+)s\)/.exec(text)?.[1] ?? 0);
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
