import { CowherdError } from '../errors.js';
import type { GuestIdentity } from './reidentify.js';
import { excerpt } from './text.js';
import {
  type HostName,
  type Ipv4Address,
  type MacAddress,
  parseHostName,
  parseIpv4,
  parseMac,
  parseSshPublicKey,
  type SshPublicKey,
} from './values.js';

/** The output of templates/guest/main.sh: what was changed, and the identity that the guest reports. Not trusted; bounded. */

export interface GuestUpdate {
  clockMs: number;
  /** Network devices without a link, and so without an address yet. */
  withoutLink: string[];
  /** Problems, for display. */
  notes: string[];
}

export interface GuestIdentityReport extends GuestUpdate {
  hostname: HostName;
  machineId: string | undefined;
  /** Of network cards, not of interfaces built on them. */
  macs: MacAddress[];
  /** IPv4, without lo. */
  addresses: Ipv4Address[];
  /** The subset on network cards, not on interfaces built on them. */
  cardAddresses: Ipv4Address[];
  /** The subset that no DHCP client manages. */
  staticAddresses: Ipv4Address[];
  /** Running DHCP clients, if they were looked for. */
  dhcpClients: string[];
  /** Public ed25519, ECDSA and RSA lines: type and key. */
  hostKeys: SshPublicKey[];
}

export interface GuestAccount {
  self: GuestIdentityReport;
  /** Host keys before they were renewed. */
  formerHostKeys: SshPublicKey[];
  /** Exit code of the hook; undefined if none ran. */
  hookCode: number | undefined;
}

/** Maximum number of lines of each kind. */
const mostLines = 64;

/** Values of each kind of line. */
type Lines = Map<string, string[]>;

/** Skips lines that the script does not print. */
function linesOf(domain: string, output: string): Lines {
  const begin = output.indexOf('cowherd-self 1\n');
  const end = output.indexOf('\ncowherd-end', begin);
  if (begin < 0 || end < 0) throw unreadable(domain, 'the report is not complete');
  const found: Lines = new Map();
  for (const line of output.slice(begin, end).split('\n').slice(1)) {
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const values = found.get(word) ?? [];
    if (values.length < mostLines) found.set(word, [...values, space < 0 ? '' : line.slice(space + 1)]);
  }
  return found;
}

function valuesOf<T>(lines: Lines, word: string, parse: (value: string) => T | undefined): T[] {
  return [...new Set((lines.get(word) ?? []).map(parse).filter((value) => value !== undefined))];
}

function updateIn(domain: string, lines: Lines): GuestUpdate {
  const [clock] = valuesOf(lines, 'clock', matching(/^\d{1,12}(\.\S{1,12})?$/));
  if (clock === undefined) throw unreadable(domain, 'it has no time');
  return {
    // Busybox's date has no fractions of a second.
    clockMs: Math.floor(1000 * Number(/^\d+(\.\d+)?/.exec(clock)?.[0])),
    withoutLink: valuesOf(lines, 'no-link', matching(/^[\w.@-]{1,15}$/)),
    notes: (lines.get('note') ?? []).map(excerpt),
  };
}

function hookCodeIn(lines: Lines): number | undefined {
  const [hook] = valuesOf(lines, 'hook', matching(/^\d{1,3}$/));
  return hook === undefined ? undefined : Number(hook);
}

/** Reads the output without a report of the identity. @throws NOT_READY if it is incomplete */
export function parseUpdate(domain: string, output: string): { self: GuestUpdate; hookCode: number | undefined } {
  const lines = linesOf(domain, output);
  return { self: updateIn(domain, lines), hookCode: hookCodeIn(lines) };
}

/** @throws NOT_READY if the report is incomplete */
export function parseIdentityReport(domain: string, output: string): GuestAccount {
  const found = linesOf(domain, output);
  const all = <T>(word: string, parse: (value: string) => T | undefined): T[] => valuesOf(found, word, parse);
  const [hostname] = all('hostname', parseHostName);
  if (hostname === undefined) throw unreadable(domain, 'it has no host name');
  const [machineId] = all('machine-id', matching(/^[0-9a-f]{32}$/));
  const ofCards = (kinds: readonly string[]): Ipv4Address[] =>
    (found.get('card-address') ?? []).flatMap((words) => {
      const [text, kind = ''] = words.split(' ');
      const address = parseIpv4(text);
      return address !== undefined && kinds.includes(kind) ? [address] : [];
    });
  const dhcpClients = all('dhcp-client', matching(/^[A-Za-z]{1,32}$/));
  return {
    self: {
      ...updateIn(domain, found),
      hostname,
      machineId,
      macs: all('mac', parseMac),
      addresses: all('address', parseIpv4),
      cardAddresses: ofCards(['dynamic', 'lasting']),
      // udhcpc's script sets addresses without a lifetime.
      staticAddresses: dhcpClients.includes('udhcpc') ? [] : ofCards(['lasting']),
      dhcpClients,
      hostKeys: all('key', parseSshPublicKey),
    },
    formerHostKeys: all('former-key', parseSshPublicKey),
    hookCode: hookCodeIn(found),
  };
}

function matching(pattern: RegExp): (value: string) => string | undefined {
  return (value) => (pattern.test(value) ? value : undefined);
}

function unreadable(domain: string, why: string): CowherdError {
  return new CowherdError('NOT_READY', `The identity report of ${domain} cannot be read: ${why}`, {
    hint: `The guest needs a POSIX shell, ip and date, and an agent that may run programs. Its console may show more: cowherd logs ${domain}`,
  });
}

/** The parts of an identity that are not the guest's own. */
export function whatIsStillGolden(
  { self, formerHostKeys }: GuestAccount,
  { hostname, machineId, macs, hostKeys, formerAddresses = [] }: GuestIdentity,
): string[] {
  const still: string[] = [];
  if (self.hostname !== hostname) still.push(`host name ${self.hostname}`);
  if (self.machineId !== machineId) still.push(`machine-id ${self.machineId ?? '(none)'}`);
  for (const { from, to } of macs) {
    const has = (address: string): boolean => self.macs.some((one) => one === address.toLowerCase());
    if (has(to)) continue;
    still.push(has(from) ? `MAC ${from}` : `MAC: no card has ${from} or ${to}`);
  }
  for (const address of self.cardAddresses.filter((one) => formerAddresses.includes(one))) still.push(`address ${address}`);
  if (hostKeys === 'renew') {
    const kept = self.hostKeys.filter((key) => formerHostKeys.includes(key));
    if (kept.length > 0) still.push(`ssh host key ${kept.map((key) => key.split(' ')[0]).join(', ')}`);
    if (formerHostKeys.length > 0 && self.hostKeys.length === 0) still.push('ssh host key: none is left');
  }
  return still;
}
