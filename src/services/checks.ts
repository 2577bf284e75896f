import prettyBytes from 'pretty-bytes';
import { CowherdError, reportOf } from '../core/errors.js';
import { parseNetwork } from '../core/spec.js';
import type { Ports } from '../ports.js';

/** The named checks that doctor prints and that spawn makes before it changes anything. */
export interface Check {
  name: string;
  status: 'ok' | 'warning' | 'failed';
  message: string;
  /** What to do about it. */
  hint?: string;
}

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
/** Allowance for what QEMU itself takes beside the guest's memory. */
const overheadMiB = 32;
/** File descriptors that libvirtd keeps per running domain: monitor, agent, console, log. */
const descriptorsPerDomain = 8;

export async function checkTools({ hypervisor, images }: Pick<Ports, 'hypervisor' | 'images'>): Promise<Check[]> {
  return [
    await attempt('qemu-img', async () => {
      const version = await images.version();
      return atLeast(version, 6, 0)
        ? ok('qemu-img', version)
        : { name: 'qemu-img', status: 'failed', message: `${version} is too old`, hint: 'Install QEMU 6.0 or newer.' };
    }),
    await attempt('libvirt', async () => {
      const { libvirt, hypervisor: version } = await hypervisor.versions();
      return atLeast(libvirt, 7, 0)
        ? ok('libvirt', `${libvirt} with ${version}, at ${hypervisor.uri}`)
        : { name: 'libvirt', status: 'failed', message: `${libvirt} is too old`, hint: 'Install libvirt 7.0 or newer.' };
    }),
  ];
}

/** What seeds and logins need; fleets without them do not. */
export async function checkGuestTools({ seeds, remote }: Pick<Ports, 'seeds' | 'remote'>): Promise<Check[]> {
  const optional = async (name: string, look: () => Promise<string>): Promise<Check> => {
    const check = await attempt(name, async () => ok(name, await look()));
    return check.status === 'failed' ? { ...check, status: 'warning' } : check;
  };
  return [await optional('seed images', () => seeds.tool()), await optional('ssh', () => remote.version())];
}

/** libvirt's own network: whether members could be on it. Nothing starts it but a person. */
export async function checkDefaultNetwork({ hypervisor, networks }: Pick<Ports, 'hypervisor' | 'networks'>): Promise<Check[]> {
  if (!hypervisor.isSystem) return [];
  const name = 'network default';
  const check = await attempt(name, async () => {
    const { exists, active } = await networks.state('default');
    if (active) return ok(name, 'active: --network network=default gives each member an address');
    if (!exists) return ok(name, 'there is none; --network user needs none');
    return {
      name,
      status: 'warning',
      message: 'defined and not active: --network network=default would not work',
      hint: 'To start it: cowherd doctor --start-network default (or virsh net-start default; virsh net-autostart default keeps it).',
    };
  });
  return [check.status === 'failed' ? { ...check, status: 'warning' } : check];
}

/** Where /dev/kvm is closed to libvirt's users, libvirt asks QEMU for all its abilities again at every call. */
export async function checkKvmDevice({ machine }: Pick<Ports, 'machine'>): Promise<Check[]> {
  const name = '/dev/kvm';
  const device = await machine.kvmDevice();
  if (device === undefined) return [];
  const mode = device.mode.toString(8).padStart(4, '0');
  const open = (device.mode & 0o006) === 0o006 || (device.group === 'kvm' && (device.mode & 0o060) === 0o060);
  return [
    open
      ? ok(name, `group ${device.group}, mode ${mode}`)
      : {
          name,
          status: 'warning',
          message: `group ${device.group}, mode ${mode}: QEMU's user cannot open it, and libvirt takes seconds for every call`,
          hint: 'sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm, then restart libvirtd',
        },
  ];
}

export async function checkUser({ hypervisor, machine }: Pick<Ports, 'hypervisor' | 'machine'>): Promise<Check> {
  const who = machine.userName();
  if (machine.isRoot()) return ok('user', `${who}, who may do everything`);
  const groups = await machine.groups();
  const inGroup = groups.includes('libvirt');
  if (hypervisor.isSystem) return ok('user', `${who}${inGroup ? ', in the group libvirt' : ''}`);
  return ok('user', `${who}, with a libvirt of their own${inGroup ? '' : ` (to use the system's: sudo usermod -aG libvirt ${who})`}`);
}

export async function checkAccelerator({ accelerator }: Pick<Ports, 'accelerator'>, fresh: boolean): Promise<Check> {
  return attempt('accelerator', async () => {
    const { virtType, why } = await accelerator.choose({ fresh });
    return virtType === 'kvm'
      ? ok('accelerator', `kvm: ${why}`)
      : {
          name: 'accelerator',
          status: 'warning',
          message: `qemu (emulation): ${why}`,
          hint: 'Guests run, but slowly. For KVM the CPU, the BIOS setting, the module and /dev/kvm (group kvm, mode 0660) must be there.',
        };
  });
}

/** Whether this user can write the store, and QEMU can reach it. */
export async function checkStore({ hypervisor, machine, fleets }: Pick<Ports, 'hypervisor' | 'machine' | 'fleets'>): Promise<Check[]> {
  const { root } = fleets;
  const checks: Check[] = [];
  const obstacle = await machine.writeObstacle(root);
  checks.push(
    obstacle === undefined
      ? ok('store', root)
      : {
          name: 'store',
          status: 'failed',
          message: obstacle,
          hint: `Make it yours: sudo install -d -m 0755 -o ${machine.userName()} ${shellWord(root)}`,
        },
  );
  checks.push(
    await attempt('store reachable by QEMU', async () => {
      const name = 'store reachable by QEMU';
      const user = await hypervisor.qemuUser();
      if (user === undefined) return ok(name, 'QEMU runs as you');
      const blocked = await machine.obstacleFor(user, root);
      if (blocked === undefined) return ok(name, `uid ${user.uid} may pass through every directory of ${root}`);
      return {
        name,
        status: 'failed',
        message: `${blocked.path}: ${blocked.reason}`,
        hint: `Let it through (chmod o+x ${shellWord(blocked.path)}), or keep the store elsewhere with --store DIR.`,
      };
    }),
  );
  return checks;
}

export interface Demand {
  /** Members that will be started. */
  starting: number;
  memoryMiB: number;
  /** Overlays that will be made. */
  creating: number;
  virtualBytes: number;
}

export async function checkDisk({ machine, fleets }: Pick<Ports, 'machine' | 'fleets'>, demand?: Demand): Promise<Check[]> {
  const { freeBytes, totalBytes } = await machine.diskSpace(fleets.root);
  const percent = Math.round((freeBytes / totalBytes) * 100);
  const free = `${prettyBytes(freeBytes, { binary: true })} free (${percent} %)`;
  const checks: Check[] = [
    freeBytes < GiB || freeBytes < totalBytes * 0.05
      ? {
          name: 'free disk',
          status: 'failed',
          message: `only ${free} in ${fleets.root}: less than 5 % or 1 GiB`,
          hint: 'Free some space ("cowherd report" shows who uses it), or keep the store elsewhere with --store DIR.',
        }
      : ok('free disk', free),
  ];
  if (demand !== undefined && demand.creating > 0) {
    const worst = demand.creating * demand.virtualBytes;
    checks.push(
      worst > freeBytes
        ? {
            name: 'disk growth',
            status: 'warning',
            message: `${demand.creating} overlays could grow to ${prettyBytes(worst, { binary: true })}, and there is ${prettyBytes(freeBytes, { binary: true })}`,
            hint: 'That is the worst case: every guest filling its disk. Watch "cowherd report"; a full disk pauses the guests.',
          }
        : ok('disk growth', `even full, ${demand.creating} overlays fit (${prettyBytes(worst, { binary: true })})`),
    );
  }
  return checks;
}

export async function checkMemory({ machine }: Pick<Ports, 'machine'>, demand?: Demand): Promise<Check> {
  const { availableBytes, totalBytes } = await machine.memory();
  const available = prettyBytes(availableBytes, { binary: true });
  if (demand === undefined || demand.starting === 0) {
    return ok('memory', `${available} available of ${prettyBytes(totalBytes, { binary: true })}`);
  }
  const needed = demand.starting * (demand.memoryMiB + overheadMiB) * MiB;
  const sum = `${demand.starting} guests of ${demand.memoryMiB} MiB need ${prettyBytes(needed, { binary: true })} with QEMU's own ${overheadMiB} MiB each`;
  if (needed <= availableBytes) return ok('memory', `${sum}; ${available} are available`);
  const fitting = Math.floor(availableBytes / ((demand.memoryMiB + overheadMiB) * MiB));
  return {
    name: 'memory',
    status: 'failed',
    message: `${sum}, and only ${available} are available`,
    hint: `${fitting} of them fit. Start fewer, give each less (--memory), or go on with --force.`,
  };
}

export async function checkNetwork({ hypervisor, networks }: Pick<Ports, 'hypervisor' | 'networks'>, network: string): Promise<Check> {
  const { kind, source } = parseNetwork(network);
  if (kind !== 'network') {
    if (kind === 'bridge' && !hypervisor.isSystem) {
      return {
        name: 'network',
        status: 'warning',
        message: 'an ordinary user reaches a bridge only through qemu-bridge-helper',
        hint: 'Use --network user, or the system connection.',
      };
    }
    return ok('network', network);
  }
  return attempt('network', async () => {
    const { exists, active } = await networks.state(source);
    if (active) return ok('network', `${source} is active`);
    if (exists) {
      return {
        name: 'network',
        status: 'failed',
        message: `network ${source} is not active`,
        hint: `virsh -c ${hypervisor.uri} net-start ${source}`,
      };
    }
    return {
      name: 'network',
      status: 'failed',
      message: `there is no network ${source}`,
      hint: `See "virsh -c ${hypervisor.uri} net-list --all".`,
    };
  });
}

export async function checkDaemonLimits(
  { machine, hypervisor }: Pick<Ports, 'machine' | 'hypervisor'>,
  sessions: number,
  domains: number,
): Promise<Check[]> {
  if (!hypervisor.isSystem) return [ok('libvirtd limits', "a daemon of your own, with libvirt's defaults")];
  const { openFiles, maxClients, maxWorkers } = await machine.libvirtdLimits();
  const checks: Check[] = [
    maxClients !== undefined && maxClients < sessions + 4
      ? {
          name: 'libvirtd limits',
          status: 'warning',
          message: `max_clients is ${maxClients}, and cowherd uses up to ${sessions} connections`,
          hint: 'Raise max_clients in /etc/libvirt/libvirtd.conf.',
        }
      : ok('libvirtd limits', `up to ${maxClients} clients and ${maxWorkers} workers`),
  ];
  if (openFiles === undefined) {
    checks.push(ok('open files', 'the limit of libvirtd cannot be seen from here'));
  } else {
    const needed = 256 + domains * descriptorsPerDomain;
    checks.push(
      openFiles < needed
        ? {
            name: 'open files',
            status: 'warning',
            message: `libvirtd may open ${openFiles} files, and ${domains} domains need about ${needed}`,
            hint: 'Raise LimitNOFILE of libvirtd.service, or ulimit -n before starting it.',
          }
        : ok('open files', `libvirtd may open ${openFiles}`),
    );
  }
  return checks;
}

/**
 * @param force let failures pass as warnings
 * @returns the warnings, as notes
 * @throws PREFLIGHT_FAILED, every failed check in the details
 */
export function verifyChecks(checks: readonly Check[], force: boolean): string[] {
  const failed = checks.filter((check) => check.status === 'failed');
  if (failed.length > 0 && !force) {
    const only = failed.length === 1 ? failed[0] : undefined;
    throw new CowherdError(
      'PREFLIGHT_FAILED',
      only === undefined ? `${failed.length} checks failed; nothing was changed` : `${only.message}; nothing was changed`,
      {
        details:
          only === undefined ? failed.map(({ name, message, hint }) => `${name}: ${message}${hint === undefined ? '' : ` - ${hint}`}`) : [],
        hint: only?.hint ?? 'Mend these, or go on all the same with --force. "cowherd doctor" shows all checks.',
      },
    );
  }
  return checks
    .filter((check) => check.status !== 'ok' && !(check.name === 'accelerator'))
    .map(({ name, message }) => `${name}: ${message}`);
}

function ok(name: string, message: string): Check {
  return { name, status: 'ok', message };
}

async function attempt(name: string, check: () => Promise<Check>): Promise<Check> {
  try {
    return await check();
  } catch (error) {
    const { message, hint } = reportOf(error);
    return { name, status: 'failed', message, ...(hint === undefined ? {} : { hint }) };
  }
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first > major || (first === major && second >= minor);
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
