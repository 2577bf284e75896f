import type { Ports } from '../ports.js';
import { isAborted } from './engine.js';
import { findMember } from './members.js';

const followMs = 300;

export interface LogsOptions {
  /** `lab-003`, or `lab 3`. */
  words: readonly string[];
  /** Go on until the signal is aborted. */
  follow?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onText: (text: string) => void;
}

/** The member's serial console since its last start. @returns the member's name and how many bytes it was */
export async function logs(
  ports: Ports,
  { words, follow = false, signal, onText }: LogsOptions,
): Promise<{ member: string; bytes: number }> {
  const { record, member } = await findMember(ports, words);
  let at = 0;
  for (;;) {
    const { text, nextByte } = await ports.fleets.readConsole(record.name, member.name, at);
    at = nextByte;
    if (text !== '') onText(text);
    else if (!follow) return { member: member.name, bytes: at };
    else await ports.clock.sleep(followMs, signal);
    if (isAborted(signal)) return { member: member.name, bytes: at };
  }
}
