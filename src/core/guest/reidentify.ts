import { CowherdError } from '../errors.js';
import { shellQuote } from '../quoting.js';
import type { SshKeyPair } from './ssh-keys.js';
import { parseMac } from './values.js';

/** What is corrected in a guest whose memory was restored or came from another VM. */

export interface Reidentification {
  /** Set the clock to the host's. */
  clock: boolean;
  /** Mix fresh random bytes into the guest's entropy pool. */
  entropy: boolean;
  /** Renew the DHCP lease. */
  renew: boolean;
  /** It is the source VM of clones: continue what templates/guest/before-freeze.sh stopped. */
  thawed?: boolean;
  /** Give a clone its own identity; not for a warm reset. */
  identity?: GuestIdentity | undefined;
  /** The user's hook: a shell command that runs in the guest at the end. */
  hook?: string | undefined;
  /** Report the guest's identity; always with {@link identity}. */
  report?: boolean;
}

export interface GuestIdentity {
  hostname: string;
  /** 32 hexadecimal digits. */
  machineId: string;
  macs: ReadonlyArray<{ from: string; to: string }>;
  hostKeys: 'keep' | 'renew';
  /** New host keys; the guest generates keys of other types. */
  newHostKeys?: readonly SshKeyPair[];
  /** IPv4 addresses of the source VM's cards, which the clone's must not have before they get a link. */
  formerAddresses?: readonly string[];
}

const longestHook = 16 * 1024;

/**
 * The lines before the files of templates/guest.
 * @param given values from the host
 * @throws BAD_SPEC for a value that no guest can have
 */
export function reidentifyAssignments(fix: Reidentification, { now, entropy }: { now: Date; entropy: Buffer }): string {
  const { identity, hook = '' } = fix;
  if (identity !== undefined) assertIdentity(identity);
  if (hook.includes('\0')) throw new CowherdError('BAD_SPEC', 'The hook contains a NUL character', { hint: 'Give plain text.' });
  if (Buffer.byteLength(hook) > longestHook) {
    throw new CowherdError('BAD_SPEC', `The hook is longer than ${longestHook / 1024} KiB`, {
      hint: 'Put a script into the base image, and have the hook call it.',
    });
  }
  const values = {
    clock: fix.clock ? (now.getTime() / 1000).toFixed(3) : '',
    entropy: fix.entropy ? entropy.toString('hex') : '',
    renew: fix.renew ? 'yes' : '',
    thawed: fix.thawed === true ? 'yes' : '',
    hostname: identity?.hostname ?? '',
    machine_id: identity?.machineId ?? '',
    macs: (identity?.macs ?? [])
      .filter(({ from, to }) => from.toLowerCase() !== to.toLowerCase())
      .map(({ from, to }) => `${from}=${to}`.toLowerCase())
      .join(' '),
    host_keys: identity?.hostKeys === 'renew' ? 'renew' : '',
    ...newKeys(identity?.newHostKeys ?? []),
    hook,
    report: fix.report === true || identity !== undefined ? 'yes' : '',
  };
  return Object.entries(values)
    .map(([name, value]) => `${name}=${shellQuote(value)}\n`)
    .join('');
}

/** Files of templates/guest that a fix needs, in order. */
export type FixUpPart = 'clock' | 'identity' | 'services' | 'restart' | 'leases' | 'addresses' | 'report' | 'host-keys' | 'hook' | 'main';

/** An emulated guest takes time for each byte of the script, and so does the way to it. */
export function fixUpParts({ clock, entropy, renew, thawed = false, identity, hook = '', report = false }: Reidentification): FixUpPart[] {
  const reports = report || identity !== undefined;
  const needed: Record<FixUpPart, boolean> = {
    clock: clock || entropy,
    identity: identity !== undefined,
    services: renew || thawed || reports,
    restart: renew || identity?.hostKeys === 'renew',
    leases: renew,
    addresses: renew || reports,
    report: reports,
    'host-keys': identity?.hostKeys === 'renew',
    hook: hook !== '',
    main: true,
  };
  return (Object.keys(needed) as FixUpPart[]).filter((part) => needed[part]);
}

/** A script without its comments and indentation. Its here-documents must have neither. */
export function withoutComments(script: string): string {
  return script
    .split('\n')
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => `${line}\n`)
    .join('');
}

const fileOf: Record<string, string> = { 'ssh-ed25519': 'ed25519', 'ecdsa-sha2-nistp256': 'ecdsa', 'ssh-rsa': 'rsa' };

function newKeys(keys: readonly SshKeyPair[]): Record<string, string> {
  const none = Object.values(fileOf).flatMap((file): [string, string][] => [
    [`new_${file}`, ''],
    [`new_${file}_pub`, ''],
  ]);
  const given = keys.flatMap(({ privateKey, publicKey, dropbear }): [string, string][] => {
    const file = fileOf[publicKey.split(' ')[0] ?? ''];
    if (file === undefined) return [];
    return [
      [`new_${file}`, privateKey.trimEnd()],
      [`new_${file}_pub`, publicKey],
      ...(dropbear === undefined ? [] : [['new_dropbear', octal(dropbear)] as [string, string]]),
    ];
  });
  return Object.fromEntries([...none, ['new_dropbear', ''], ...given]);
}

/** For a shell's printf: binary data cannot be quoted. */
function octal(bytes: Buffer): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}

function assertIdentity({ hostname, machineId, macs, hostKeys }: GuestIdentity): void {
  const refuse = (what: string, hint: string): never => {
    throw new CowherdError('BAD_SPEC', what, { hint });
  };
  if (hostname.length > 64 || !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(hostname)) {
    refuse(`${JSON.stringify(hostname.slice(0, 80))} is not a host name`, 'Letters, digits and hyphens, 64 at most.');
  }
  if (!/^[0-9a-f]{32}$/.test(machineId) || /^0+$/.test(machineId)) {
    refuse(`${JSON.stringify(machineId.slice(0, 80))} is not a machine-id`, '32 lower-case hexadecimal digits, not all zero.');
  }
  if (hostKeys !== 'keep' && hostKeys !== 'renew') refuse('Host keys must be kept or renewed', 'Write keep or renew.');
  for (const address of macs.flatMap(({ from, to }) => [from, to])) {
    if (parseMac(address) === undefined || (Number.parseInt(address.slice(0, 2), 16) & 1) !== 0) {
      refuse(
        `${JSON.stringify(address.slice(0, 80))} is not a MAC address of a network card`,
        'Six pairs of hexadecimal digits; the first is even.',
      );
    }
  }
  for (const side of ['from', 'to'] as const) {
    const all = macs.map((pair) => pair[side].toLowerCase());
    const twice = all.find((address, at) => all.indexOf(address) !== at);
    if (twice !== undefined) refuse(`The MAC address ${twice} is given twice`, 'Each card needs its own.');
  }
  const moved = macs.map(({ from, to }) => ({ from: from.toLowerCase(), to: to.toLowerCase() })).filter(({ from, to }) => from !== to);
  const chained = moved.find(({ to }) => moved.some(({ from }) => from === to));
  if (chained !== undefined)
    refuse(
      `The MAC address ${chained.to} would move from one card to another`,
      'Give the clone MAC addresses that the source VM does not use.',
    );
}
