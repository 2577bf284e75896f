import type { Ports } from '../../../ports/index.js';
import { status } from '../../../services/fleet/status/status.js';
import type { MemoryView } from '../../protocol.js';

/** What each running member takes of this host's memory. Members whose memory this user cannot read are missing. */
export async function memoryView(ports: Ports, fleet: string): Promise<MemoryView> {
  const { members } = await status(ports, fleet, { memory: true });
  const rows = members.flatMap(({ name, memory }) => {
    const { residentBytes = null, privateBytes = null } = memory ?? {};
    if (residentBytes === null || privateBytes === null) return [];
    return [[name, { privateBytes, sharedBytes: Math.max(0, residentBytes - privateBytes) }] as const];
  });
  return { members: Object.fromEntries(rows) };
}
