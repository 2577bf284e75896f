import { CowherdError } from './errors.js';
import type { SshKeyPair } from './ssh-keys.js';

/** What is put right in a guest whose memory was put back or given to another VM, and what the guest then says of itself. */

export interface FixUp {
  /** Set the clock to the host's. */
  clock: boolean;
  /** Mix fresh random bytes into the guest's pool. */
  entropy: boolean;
  /** Ask for the DHCP lease anew. */
  renew: boolean;
  /** Make a clone itself: left out for a warm reset. */
  identity?: GuestIdentity | undefined;
  /** A command line that a shell runs in the guest at the end: the user's hook. */
  hook?: string | undefined;
}

export interface GuestIdentity {
  hostname: string;
  /** 32 hexadecimal digits. */
  machineId: string;
  macs: ReadonlyArray<{ from: string; to: string }>;
  hostKeys: 'keep' | 'renew';
  /** What they are renewed with, for OpenSSH; a key of another type, and all of dropbear's, the guest makes itself. */
  newHostKeys?: readonly SshKeyPair[];
  /** IPv4 that the golden VM's cards had: the clone's must not have them before it has a link. */
  formerAddresses?: readonly string[];
}

/** What the guest says of itself. It may lie; it is bounded. */
export interface GuestSelf {
  hostname: string;
  machineId: string | undefined;
  /** Of cards, not of what is built on them. */
  macs: string[];
  /** IPv4, without lo. */
  addresses: string[];
  /** Of these, those of cards, not of what is built on them. */
  cardAddresses: string[];
  /** Of these, those that no DHCP client looks after. */
  staticAddresses: string[];
  /** Those that run, where they were looked for. */
  dhcpClients: string[];
  /** Public ed25519, ECDSA and RSA lines: type and key. */
  hostKeys: string[];
  clockMs: number;
  /** What did not go as it should, for people. */
  notes: string[];
}

export interface GuestAccount {
  self: GuestSelf;
  /** Host keys that were there before they were renewed. */
  formerHostKeys: string[];
  /** Exit code of the hook; undefined where none ran. */
  hookCode: number | undefined;
}

const longestHook = 16 * 1024;
const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/**
 * The lines that stand in front of templates/guest/fix-up.sh.
 * @param given what the host has for it
 * @throws BAD_SPEC where a value could not be a guest's
 */
export function fixUpAssignments(fix: FixUp, { now, entropy }: { now: Date; entropy: Buffer }): string {
  const { identity, hook = '' } = fix;
  if (identity !== undefined) verifyIdentity(identity);
  if (hook.includes('\0')) throw new CowherdError('BAD_SPEC', 'The hook has a zero character in it', { hint: 'Give it as plain text.' });
  if (Buffer.byteLength(hook) > longestHook) {
    throw new CowherdError('BAD_SPEC', `The hook is longer than ${longestHook / 1024} KiB`, {
      hint: 'Put a script into the base image, and have the hook call it.',
    });
  }
  const values = {
    clock: fix.clock ? (now.getTime() / 1000).toFixed(3) : '',
    entropy: fix.entropy ? entropy.toString('hex') : '',
    renew: fix.renew ? 'yes' : '',
    hostname: identity?.hostname ?? '',
    machine_id: identity?.machineId ?? '',
    macs: (identity?.macs ?? [])
      .filter(({ from, to }) => from.toLowerCase() !== to.toLowerCase())
      .map(({ from, to }) => `${from}=${to}`.toLowerCase())
      .join(' '),
    host_keys: identity?.hostKeys === 'renew' ? 'renew' : '',
    ...newKeys(identity?.newHostKeys ?? []),
    hook,
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}=${shellQuote(value)}\n`)
    .join('');
}

const fileOf: Record<string, string> = { 'ssh-ed25519': 'ed25519', 'ecdsa-sha2-nistp256': 'ecdsa', 'ssh-rsa': 'rsa' };

function newKeys(keys: readonly SshKeyPair[]): Record<string, string> {
  const none = Object.values(fileOf).flatMap((file): [string, string][] => [
    [`new_${file}`, ''],
    [`new_${file}_pub`, ''],
  ]);
  const given = keys.flatMap(({ privateKey, publicKey }): [string, string][] => {
    const file = fileOf[publicKey.split(' ')[0] ?? ''];
    if (file === undefined) return [];
    return [
      [`new_${file}`, privateKey.trimEnd()],
      [`new_${file}_pub`, publicKey],
    ];
  });
  return Object.fromEntries([...none, ...given]);
}

/** One word of a POSIX shell, whatever is in it. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function verifyIdentity({ hostname, machineId, macs, hostKeys }: GuestIdentity): void {
  const refuse = (what: string, hint: string): never => {
    throw new CowherdError('BAD_SPEC', what, { hint });
  };
  if (hostname.length > 64 || !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(hostname)) {
    refuse(`${JSON.stringify(hostname.slice(0, 80))} is no host name`, 'Letters, digits and hyphens, 64 at most.');
  }
  if (!/^[0-9a-f]{32}$/.test(machineId) || /^0+$/.test(machineId)) {
    refuse(`${JSON.stringify(machineId.slice(0, 80))} is no machine-id`, '32 lower-case hexadecimal digits, not all zero.');
  }
  if (hostKeys !== 'keep' && hostKeys !== 'renew') refuse('Host keys are to be kept or renewed', 'Say keep or renew.');
  for (const address of macs.flatMap(({ from, to }) => [from, to])) {
    if (!mac.test(address) || (Number.parseInt(address.slice(0, 2), 16) & 1) !== 0) {
      refuse(`${JSON.stringify(address.slice(0, 80))} is no MAC of a network card`, 'Six pairs of hexadecimal digits; the first is even.');
    }
  }
  for (const side of ['from', 'to'] as const) {
    const all = macs.map((pair) => pair[side].toLowerCase());
    const twice = all.find((address, at) => all.indexOf(address) !== at);
    if (twice !== undefined) refuse(`The MAC ${twice} is named twice`, 'Each card has its own.');
  }
  const moved = macs.map(({ from, to }) => ({ from: from.toLowerCase(), to: to.toLowerCase() })).filter(({ from, to }) => from !== to);
  const chained = moved.find(({ to }) => moved.some(({ from }) => from === to));
  if (chained !== undefined)
    refuse(`The MAC ${chained.to} would go from one card to another`, 'Give the clone MACs that the golden VM has not.');
}

/** Of each kind of line, so many at most. */
const mostLines = 64;
const longest = { note: 300, key: 2048 };

/**
 * Reads what fix-up.sh said. Whatever the guest says is bounded, and free of what would make a mess of a terminal.
 * @throws NOT_READY where it is not an account
 */
export function parseGuestSelf(domain: string, output: string): GuestAccount {
  const begin = output.indexOf('cowherd-self 1\n');
  const end = output.indexOf('\ncowherd-end', begin);
  if (begin < 0 || end < 0) throw unreadable(domain, 'its account is not whole');
  const found = new Map<string, string[]>();
  for (const line of output.slice(begin, end).split('\n').slice(1)) {
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const values = found.get(word) ?? [];
    if (values.length < mostLines) found.set(word, [...values, space < 0 ? '' : line.slice(space + 1)]);
  }
  const all = (word: string, isValid: (value: string) => boolean): string[] => [...new Set((found.get(word) ?? []).filter(isValid))];
  const [hostname] = all('hostname', (value) => /^[\w.-]{1,64}$/.test(value));
  if (hostname === undefined) throw unreadable(domain, 'it has no host name');
  const [clock] = all('clock', (value) => /^\d{1,12}(\.\S{1,12})?$/.test(value));
  if (clock === undefined) throw unreadable(domain, 'it does not tell the time');
  const [machineId] = all('machine-id', (value) => /^[0-9a-f]{32}$/.test(value));
  const ofCards = (kinds: readonly string[]): string[] =>
    (found.get('card-address') ?? []).flatMap((words) => {
      const [address = '', kind = ''] = words.split(' ');
      return isAddress(address) && kinds.includes(kind) ? [address] : [];
    });
  const dhcpClients = all('dhcp-client', (value) => /^[A-Za-z]{1,32}$/.test(value));
  const [hook] = all('hook', (value) => /^\d{1,3}$/.test(value));
  return {
    self: {
      hostname,
      machineId,
      macs: all('mac', (value) => mac.test(value)).map((value) => value.toLowerCase()),
      addresses: all('address', isAddress),
      cardAddresses: ofCards(['dynamic', 'lasting']),
      // Its script sets addresses without an end.
      staticAddresses: dhcpClients.includes('udhcpc') ? [] : ofCards(['lasting']),
      dhcpClients,
      hostKeys: all('key', isHostKey),
      // Busybox knows no fractions of a second, and says so.
      clockMs: Math.floor(1000 * Number(/^\d+(\.\d+)?/.exec(clock)?.[0])),
      notes: (found.get('note') ?? []).map((note) => note.replace(/[^\x20-\x7e]/g, '?').slice(0, longest.note)),
    },
    formerHostKeys: all('former-key', isHostKey),
    hookCode: hook === undefined ? undefined : Number(hook),
  };
}

function isAddress(value: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(value) && value.split('.').every((part) => Number(part) < 256);
}

function isHostKey(value: string): boolean {
  return value.length <= longest.key && /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d{3}) [A-Za-z0-9+/]+={0,2}$/.test(value);
}

function unreadable(domain: string, why: string): CowherdError {
  return new CowherdError('NOT_READY', `${domain} did not say who it is: ${why}`, {
    hint: 'The guest needs a POSIX shell, ip and date, and an agent that may run programs. See its log.',
  });
}

/** What of an identity is not the guest's own. */
export function whatIsStillGolden(
  { self, formerHostKeys }: GuestAccount,
  { hostname, machineId, macs, hostKeys, formerAddresses = [] }: GuestIdentity,
): string[] {
  const still: string[] = [];
  if (self.hostname !== hostname) still.push(`host name ${self.hostname}`);
  if (self.machineId !== machineId) still.push(`machine-id ${self.machineId ?? '(none)'}`);
  for (const { from, to } of macs) {
    if (self.macs.includes(to.toLowerCase())) continue;
    still.push(self.macs.includes(from.toLowerCase()) ? `MAC ${from}` : `MAC: no card has ${from} or ${to}`);
  }
  for (const address of self.cardAddresses.filter((one) => formerAddresses.includes(one))) still.push(`address ${address}`);
  if (hostKeys === 'renew') {
    const kept = self.hostKeys.filter((key) => formerHostKeys.includes(key));
    if (kept.length > 0) still.push(`ssh host key ${kept.map((key) => key.split(' ')[0]).join(', ')}`);
    if (formerHostKeys.length > 0 && self.hostKeys.length === 0) still.push('ssh host key: none is left');
  }
  return still;
}
