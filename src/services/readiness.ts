import { CowherdError } from '../core/errors.js';
import type { MemberIdentity } from '../core/identity.js';
import type { Ports } from '../ports.js';
import type { WorkOptions } from './fleet-access.js';

/** What a member must have reached for spawn to be content. */
export type WaitFor = { stage: 'running' } | { stage: 'console'; pattern: RegExp };

/** `running` or `console=REGEX`. @throws BAD_USAGE */
export function parseWaitFor(text: string): WaitFor {
  if (text === 'running') return { stage: 'running' };
  const pattern = /^console=(.+)$/s.exec(text)?.[1];
  if (pattern === undefined) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is nothing to wait for`, {
      hint: 'Write --wait running or --wait console=REGEX, e.g. --wait "console=login:".',
    });
  }
  try {
    return { stage: 'console', pattern: new RegExp(pattern, 'm') };
  } catch (cause) {
    throw new CowherdError('BAD_USAGE', `console=${pattern} is not a regular expression: ${(cause as Error).message}`, {
      hint: 'Quote special characters with a backslash.',
      cause,
    });
  }
}

const pollMs = 200;
/** How much of a console is kept to match lines that come in pieces, and to quote its last line. */
const keptCharacters = 8 * 1024;

/**
 * Waits until the console of every member shows the pattern.
 * @returns for each member that did not get there, why, with the last line of its console
 */
export async function waitForConsoles(
  ports: Pick<Ports, 'fleets' | 'clock'>,
  fleet: string,
  members: readonly MemberIdentity[],
  pattern: RegExp,
  timeoutMs: number,
  { signal, onProgress }: WorkOptions,
): Promise<Map<string, CowherdError>> {
  const { fleets, clock } = ports;
  const waiting = new Map(members.map((member) => [member.name, { nextByte: 0, tail: '' }]));
  const deadline = clock.monotonic() + timeoutMs;
  while (waiting.size > 0 && clock.monotonic() < deadline && signal?.aborted !== true) {
    let moved = false;
    for (const [name, seen] of waiting) {
      const { text, nextByte } = await fleets.readConsole(fleet, name, seen.nextByte);
      if (text === '') continue;
      moved = true;
      seen.nextByte = nextByte;
      seen.tail = (seen.tail + text).slice(-keptCharacters - text.length);
      if (pattern.test(seen.tail)) waiting.delete(name);
      else seen.tail = seen.tail.slice(-keptCharacters);
    }
    onProgress?.({ kind: 'stage', stage: 'wait', done: members.length - waiting.size, total: members.length });
    if (waiting.size > 0 && !moved) await clock.sleep(pollMs, signal);
  }
  const late = [...waiting].map(([name, { tail }]): [string, CowherdError] => {
    const lastLine = tail
      .split(/\r?\n/)
      .filter((line) => line.trim() !== '')
      .at(-1);
    return [
      name,
      signal?.aborted === true
        ? new CowherdError('INTERRUPTED', `Interrupted while waiting for ${name}`)
        : new CowherdError('NOT_READY', `${name} did not show ${pattern} within ${timeoutMs / 1000} s`, {
            details: [lastLine === undefined ? 'its console is empty' : `the last line of its console: ${lastLine.trim().slice(0, 200)}`],
            hint: 'Give it longer with --timeout, or read its console log.',
          }),
    ];
  });
  return new Map(late);
}
