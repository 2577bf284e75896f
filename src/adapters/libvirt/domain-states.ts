import { CowherdError } from '../../core/errors.js';
import type { DomainState } from '../../core/fleet/observation.js';

// virDomainState and its reasons, from libvirt-domain.h; domstats prints the numbers.
const stateNames: Record<number, DomainState['state']> = {
  1: 'running',
  2: 'running',
  3: 'paused',
  4: 'running',
  5: 'shutOff',
  6: 'shutOff',
  7: 'paused',
};
const reasonNames: Record<DomainState['state'], Record<number, string>> = {
  running: { 1: 'booted', 2: 'migrated', 3: 'restored', 4: 'from snapshot', 5: 'unpaused', 8: 'woken up', 9: 'crashed', 10: 'post-copy' },
  paused: {
    1: 'by the user',
    2: 'migrating',
    3: 'saving',
    4: 'dumping',
    5: 'I/O error',
    6: 'watchdog',
    7: 'from snapshot',
    8: 'shutting down',
    9: 'taking a snapshot',
    10: 'guest crashed',
    11: 'starting up',
  },
  shutOff: { 1: 'shut down', 2: 'destroyed', 3: 'crashed', 4: 'migrated', 5: 'saved', 6: 'failed', 7: 'from snapshot', 8: 'daemon' },
  other: {},
};

/** Reads `virsh domstats --state`. */
export function parseDomainStates(output: string): Map<string, Pick<DomainState, 'state' | 'reason'>> {
  const states = new Map<string, Pick<DomainState, 'state' | 'reason'>>();
  for (const block of output.split(/^Domain: /m).slice(1)) {
    const name = /^'(.*)'$/m.exec(block)?.[1];
    if (name === undefined) continue;
    const state = stateNames[Number(/^\s*state\.state=(\d+)/m.exec(block)?.[1])] ?? 'other';
    states.set(name, { state, reason: reasonNames[state][Number(/^\s*state\.reason=(\d+)/m.exec(block)?.[1])] ?? 'unknown' });
  }
  return states;
}

/** Reads `virsh list --all --name --uuid`. @throws TOOL_FAILED for a line that cannot be parsed, since a domain would be missing */
export function parseIdentities(output: string): Array<Pick<DomainState, 'name' | 'uuid'>> {
  return output
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      // UUID, space, name. libvirt allows spaces in names, so only the first word is split off.
      const match = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s+(.+?)\s*$/.exec(line);
      if (match !== null) return { uuid: match[1] ?? '', name: match[2] ?? '' };
      throw new CowherdError('TOOL_FAILED', `libvirt's list of domains has an unreadable line: ${JSON.stringify(line.slice(0, 120))}`, {
        hint: 'Run "virsh list --all --name --uuid" yourself: does PATH have the virsh of libvirt?',
      });
    });
}
