import { isIP } from 'node:net';

/** Whether only this host can reach an address. */
export function isLoopback(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}
