import { CowherdError } from '../../core/errors.js';
import type { SessionPool } from './session-pool.js';
import { connectionError, faultOf, isTimeout, virshError } from './virsh-errors.js';
import type { Reply } from './virsh-session.js';

/** Reads from many domains at once. */

const readBatch = 200;
/** How many domains may time out before libvirt itself is considered hung. */
const mostSilent = 3;

/**
 * One session carries all reads of a batch, pipelined.
 * @param failed receives the errors of domains that could not be read; without it, the first error is thrown
 */
export async function readEach(
  pool: SessionPool,
  names: readonly string[],
  command: (name: string) => string,
  take: (name: string, reply: Reply) => void,
  failed?: Map<string, CowherdError>,
): Promise<void> {
  let silent = 0;
  for (let left = [...names]; left.length > 0; ) {
    const part = left.slice(0, readBatch);
    const replies = await pool.run(async (session) => {
      const settled = await Promise.allSettled(part.map(async (name) => assertConnected(await session.run(command(name), pool.heldMs))));
      const first = settled.find((result) => result.status === 'rejected');
      if (first !== undefined && !(failed !== undefined && isTimeout(first.reason))) throw first.reason;
      return settled;
    });
    const answered = replies.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    for (const [position, reply] of answered.entries()) noting(failed, part[position] ?? '', (name) => take(name, reply));
    left = left.slice(answered.length);
    const unanswered = replies[answered.length];
    if (unanswered?.status !== 'rejected') continue;
    // The first one without an answer is the one that hangs.
    const [hung = ''] = left.splice(0, 1);
    if (++silent > mostSilent) throw unanswered.reason;
    failed?.set(hung, unanswered.reason);
  }
}

/** Processes what was read of a domain, and records a failure for that domain. */
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
