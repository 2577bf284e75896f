import type { GuestText } from '../core/guest/text.js';
import type { Ports } from '../ports.js';
import { isAborted } from './engine.js';
import { findMember } from './members.js';

const followMs = 300;
/** libvirt's log daemon keeps 2 MiB by default; without it a guest may write until the disk is full. */
const mostBytes = 64 * 1024 * 1024;

export interface LogsOptions {
  /** `lab-003`, or `lab 3`. */
  words: readonly string[];
  /** Continue until the signal is aborted. */
  follow?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onText: (text: GuestText) => void;
}

export interface LogsResult {
  member: string;
  bytes: number;
  /** There is more than the 64 MiB that were read. */
  truncated: boolean;
}

/** The member's serial console since its last start. */
export async function logs(ports: Ports, { words, follow = false, signal, onText }: LogsOptions): Promise<LogsResult> {
  const { record, member } = await findMember(ports, words);
  let at = 0;
  for (;;) {
    const { text, nextByte } = await ports.fleets.readConsole(record.name, member.name, at);
    at = nextByte;
    if (text !== '') onText(text);
    else if (!follow) return { member: member.name, bytes: at, truncated: false };
    else await ports.clock.sleep(followMs, signal);
    if (isAborted(signal) || (!follow && at >= mostBytes)) return { member: member.name, bytes: at, truncated: at >= mostBytes };
  }
}
