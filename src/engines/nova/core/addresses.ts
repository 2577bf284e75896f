import { excerpt } from '../../../core/guest/text.js';
import { guestIpv4, type Ipv4Address } from '../../../core/guest/values.js';
import type { Server } from './servers.js';

/**
 * The address at which this host reaches a server: its floating one, otherwise its first fixed one.
 * @param ofHost addresses of this host: ssh to one of them would run commands on this host
 */
export function addressOf({ addresses }: Pick<Server, 'addresses'>, ofHost: ReadonlySet<string>): Ipv4Address | undefined {
  const usable = addresses.flatMap(({ kind, version, address }) => {
    const ip = version === 4 ? guestIpv4(address, ofHost) : undefined;
    return ip === undefined ? [] : [{ kind, ip }];
  });
  return (usable.find(({ kind }) => kind === 'floating') ?? usable[0])?.ip;
}

/** Why a server has no such address, as the end of a sentence. */
export function whyNoAddress({ addresses }: Pick<Server, 'addresses'>): string {
  const [first] = addresses;
  if (first === undefined) return 'the cloud has given it no address';
  const listed = addresses
    .slice(0, 5)
    .map(({ address }) => excerpt(address))
    .join(', ');
  if (addresses.every(({ version }) => version === 6)) return `it has IPv6 addresses only (${listed}), and cowherd uses IPv4`;
  return `none of its addresses can be that of a guest (${listed})`;
}

/** Tasks during which a server keeps running. */
const harmlessTasks = /^(image_|migrating$|updating_password$)/;

/** Whether its guest runs, and is not about to be stopped or replaced. */
export function isUp({ status, taskState }: Pick<Server, 'status' | 'taskState'>): boolean {
  return status === 'ACTIVE' && (taskState === null || harmlessTasks.test(taskState));
}
