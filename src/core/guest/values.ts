import { isIPv4 } from 'node:net';

/**
 * Validated values from a guest, as branded types. Each is created by one function here, which returns undefined for
 * invalid input.
 */

export type Ipv4Address = string & { readonly __ipv4Address: unique symbol };
export type MacAddress = string & { readonly __macAddress: unique symbol };
export type HostName = string & { readonly __hostName: unique symbol };
export type SshPublicKey = string & { readonly __sshPublicKey: unique symbol };

/** Dotted decimal, as accepted by inet_pton(3). */
export function parseIpv4(value: unknown): Ipv4Address | undefined {
  return typeof value === 'string' && isIPv4(value) ? (value as Ipv4Address) : undefined;
}

/** A unicast address: not loopback, multicast, reserved or "this network" (RFC 6890). */
export function parseUnicastIpv4(value: unknown): Ipv4Address | undefined {
  const address = parseIpv4(value);
  const first = Number(address?.split('.', 1)[0]);
  return first >= 1 && first <= 223 && first !== 127 ? address : undefined;
}

/**
 * An address at which a guest may be reached: unicast, neither loopback nor link-local, and not one of this host. A guest can claim any
 * address, and ssh to one of this host would run commands on this host.
 */
export function guestIpv4(value: unknown, ofHost: ReadonlySet<string>): Ipv4Address | undefined {
  const address = parseUnicastIpv4(value);
  return address === undefined || address.startsWith('169.254.') || ofHost.has(address) ? undefined : address;
}

/** Six pairs of hexadecimal digits with colons, in lower case. */
export function parseMac(value: unknown): MacAddress | undefined {
  return typeof value === 'string' && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(value) ? (value.toLowerCase() as MacAddress) : undefined;
}

/** As on Linux, 64 characters at most. Underscores are accepted. */
export function parseHostName(value: unknown): HostName | undefined {
  return typeof value === 'string' && /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?$/.test(value) ? (value as HostName) : undefined;
}

const keyTypes: ReadonlySet<string> = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
]);
/** An RSA key of 8,192 bits takes 1,400. */
const longestKey = 2048;

/** `TYPE BASE64` without a comment; the type inside the key must match (RFC 4253, 6.6). */
export function parseSshPublicKey(value: unknown): SshPublicKey | undefined {
  if (typeof value !== 'string' || value.length > longestKey) return undefined;
  const [, type = '', text = ''] = /^([a-z0-9-]+) ([A-Za-z0-9+/]+={0,2})$/.exec(value) ?? [];
  if (!keyTypes.has(type)) return undefined;
  const blob = Buffer.from(text, 'base64');
  const length = blob.length < 4 ? 0 : blob.readUInt32BE(0);
  return blob.toString('base64') === text && blob.subarray(4, 4 + length).toString('latin1') === type ? (value as SshPublicKey) : undefined;
}
