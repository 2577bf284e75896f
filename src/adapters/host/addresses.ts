import { networkInterfaces } from 'node:os';

/** Current addresses of this host's network interfaces. */
export function hostAddresses(): ReadonlySet<string> {
  return new Set(Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address)));
}
