import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { Target } from '../../core/fleet/selection/targets.js';
import { type GuestText, guestText } from '../../core/guest/text.js';
import { assertWithin, limits } from '../../core/limits.js';
import type { Ports } from '../../ports/index.js';
import { loadFleet } from '../fleet/access.js';
import { isAborted } from '../run/member-executor.js';

const followMs = 300;
/** virtlogd keeps 2 MiB by default; without it, a console log has no limit. */
const maxBytes = 64 * 1024 * 1024;
/** The part of a log that --tail reads. */
const tailBytes = 1024 * 1024;

export interface LogsOptions {
  targets: readonly Target[];
  /** Start with this number of lines, from the last MiB of each member's log. */
  tail?: number | undefined;
  /** Follow the logs until the signal is aborted. */
  follow?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Called before anything is read, with the names of all selected members. */
  onChosen?: ((names: readonly string[]) => void) | undefined;
  onText: (name: string, text: GuestText) => void;
  /** Called when a member's log was read to its end, unless it is followed. */
  onEnd?: ((name: string) => void) | undefined;
}

export interface LogsResult {
  member: string;
  bytes: number;
  /** The limit of 64 MiB for all members together was reached. */
  truncated: boolean;
}

interface Log {
  fleet: string;
  name: string;
  /** Read position, and the log that it belongs to. */
  at: number;
  life?: string | undefined;
}

/** Serial console logs since the last start: one member after the other, then, with follow, all at once. */
export async function logs(ports: Ports, options: LogsOptions): Promise<LogsResult[]> {
  const { targets, tail, follow = false, signal, onText, onEnd } = options;
  assertWithin({ tail: [tail, limits.tailLines] });
  const chosen: Log[] = [];
  for (const { fleet, members } of targets) {
    const record = await loadFleet(ports, fleet);
    chosen.push(...selectMembers(record.name, record.members, members).map(({ name }) => ({ fleet, name, at: 0 })));
  }
  options.onChosen?.(chosen.map(({ name }) => name));
  const most = Math.floor(maxBytes / Math.max(1, chosen.length));
  const results: LogsResult[] = [];
  for (const log of chosen) {
    if (isAborted(signal)) break;
    if (tail !== undefined) await readTail(ports, log, tail, onText);
    const isAll = tail !== undefined || (await readOn(ports, log, { most, signal, onText }));
    if (!follow) onEnd?.(log.name);
    results.push({ member: log.name, bytes: log.at, truncated: !isAll });
  }
  while (follow && !isAborted(signal)) {
    let isQuiet = true;
    const listener: LogsOptions['onText'] = (name, text) => {
      isQuiet = false;
      onText(name, text);
    };
    for (const log of chosen) await readOn(ports, log, { most, signal, onText: listener });
    if (isQuiet) await ports.clock.sleep(followMs, signal);
  }
  return results;
}

/** @returns whether the end was reached */
async function readOn(
  { fleets }: Pick<Ports, 'fleets'>,
  log: Log,
  { most, signal, onText }: Pick<LogsOptions, 'signal' | 'onText'> & { most: number },
): Promise<boolean> {
  const end = log.at + most;
  while (log.at < end && !isAborted(signal)) {
    const { text, nextByte, life } = await fleets.readConsole(log.fleet, log.name, log.at, log.life);
    Object.assign(log, { at: nextByte, life });
    if (text === '') return true;
    onText(log.name, text);
  }
  return isAborted(signal);
}

async function readTail({ fleets }: Pick<Ports, 'fleets'>, log: Log, lines: number, onText: LogsOptions['onText']): Promise<void> {
  let tail = '';
  for (let from = -tailBytes; tail.length < tailBytes; from = log.at) {
    const { text, nextByte, life } = await fleets.readConsole(log.fleet, log.name, from);
    Object.assign(log, { at: nextByte, life });
    if (text === '') break;
    tail += text;
  }
  const all = tail.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const last = all.slice(-lines).join('');
  if (last !== '') onText(log.name, guestText(last));
}
