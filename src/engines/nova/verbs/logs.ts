import pLimit from 'p-limit';
import { selectMembers } from '../../../core/fleet/selection/selection.js';
import { type GuestText, guestText } from '../../../core/guest/text.js';
import { assertWithin, limits } from '../../../core/limits.js';
import { loadFleet } from '../../../services/fleet/access.js';
import type { LogsOptions, LogsResult } from '../../../services/guest/logs.js';
import type { NovaContext } from '../context.js';
import { fleetTag } from '../core/member-tags.js';
import { observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';

type Context = Pick<NovaContext, 'cloud' | 'ports'>;

/** For all members together. Nova itself returns at most the last 100 KiB of a log. */
const maxBytes = 64 * 1024 * 1024;
/** Logs that are read at the same time. */
const readers = 8;

/** The ends of the serial console logs, one member after the other. */
export async function logs(context: Context, { targets, tail, signal, onChosen, onText, onEnd }: LogsOptions): Promise<LogsResult[]> {
  assertWithin({ tail: [tail, limits.tailLines] });
  const chosen: Array<{ name: string; server: Server | undefined }> = [];
  for (const { fleet, members } of targets) {
    const record = await loadFleet(context.ports, fleet);
    const selected = new Set(selectMembers(record.name, record.members, members).map(({ name }) => name));
    const observed = observeServers(record, await context.cloud.servers.list([fleetTag(record.name)], { signal }));
    chosen.push(...observed.members.filter(({ name }) => selected.has(name)));
  }
  onChosen?.(chosen.map(({ name }) => name));
  const most = Math.floor(maxBytes / Math.max(1, chosen.length));
  const limit = pLimit(readers);
  const texts = chosen.map(({ server }) => limit(() => readLog(context, server, tail, signal)));
  // Each one is awaited below, but perhaps later than it fails.
  for (const text of texts) text.catch(() => undefined);
  const results: LogsResult[] = [];
  let failure: unknown;
  for (const [index, { name }] of chosen.entries()) {
    if (signal?.aborted === true) break;
    // One console that cannot be read does not hide the others.
    const all =
      (await texts[index]?.catch((error: unknown) => {
        failure ??= error;
        return undefined;
      })) ?? guestText('');
    const kept = endOf(all, most);
    if (kept !== '') onText(name, kept);
    onEnd?.(name);
    results.push({ member: name, bytes: Buffer.byteLength(kept), truncated: kept.length < all.length });
  }
  limit.clearQueue();
  if (failure !== undefined) throw failure;
  return results;
}

async function readLog(
  { cloud }: Context,
  server: Server | undefined,
  tail: number | undefined,
  signal: AbortSignal | undefined,
): Promise<GuestText | undefined> {
  if (server === undefined || signal?.aborted === true) return undefined;
  return cloud.servers.console(server, tail ?? limits.tailLines.max, { signal });
}

/** The last bytes of a text, without a part of a character at its beginning. */
export function endOf(text: GuestText, mostBytes: number): GuestText {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= mostBytes) return text;
  let start = bytes.length - mostBytes;
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  return guestText(bytes.subarray(start).toString('utf8'));
}
