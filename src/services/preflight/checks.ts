import prettyBytes from 'pretty-bytes';
import type { Platform } from '../../core/domain/template.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { reachHint } from '../../core/host/reachability.js';
import type { CloneDemand } from '../../core/memory/demand.js';
import { shellWord } from '../../core/quoting.js';
import type { DomainSpec } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import type { ReachTarget } from '../../ports/machine.js';
import { obstaclesOfQemu, placeOf } from './reachability.js';

/** The checks that spawn makes before it changes anything; doctor also prints them. */
export interface Check {
  name: string;
  status: 'ok' | 'warning' | 'failed';
  message: string;
  /** What to do about it. */
  hint?: string;
}

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** Space that should stay free on the store's file system: 5 %, between 1 and 10 GiB. */
function leastFreeBytes(totalBytes: number): number {
  return Math.max(GiB, Math.min(totalBytes * 0.05, 10 * GiB));
}
/** Allowance for QEMU's own memory besides the guest's. */
const overheadMiB = 32;

/** Checks that this user can write to the store and that QEMU can reach it.
 * @param targets existing files and directories in it that guests need
 */
export async function checkStore(
  ports: Pick<Ports, 'hypervisor' | 'machine' | 'fleets'>,
  targets: readonly ReachTarget[] = [],
): Promise<Check[]> {
  const { hypervisor, machine, fleets } = ports;
  const { root } = fleets;
  const checks: Check[] = [];
  const obstacle = await machine.writeObstacle(root);
  checks.push(
    obstacle === undefined
      ? ok('store', root)
      : {
          name: 'store',
          status: 'failed',
          message: obstacle.reason,
          hint: obstacle.isReadOnly
            ? 'Remount it (sudo mount -o remount,rw MOUNTPOINT; "dmesg" shows whether an error caused it), or keep the store elsewhere with --store DIR.'
            : `Make it yours: ${await makeStoreCommand({ hypervisor, machine }, root)}`,
        },
  );
  return [...checks, await checkReach(ports, [{ path: root, needs: 'pass' }, ...targets])];
}

/** Checks that QEMU, which runs as its own user, can reach files and directories. */
export async function checkReach(ports: Pick<Ports, 'hypervisor' | 'machine' | 'fleets'>, targets: readonly ReachTarget[]): Promise<Check> {
  const name = 'store reachable by QEMU';
  return attempt(name, async () => {
    const user = await ports.hypervisor.qemuUser();
    if (user === undefined) return ok(name, 'QEMU runs as you');
    const obstacles = await obstaclesOfQemu(ports, targets);
    if (obstacles.length === 0) return ok(name, `uid ${user.uid} can reach all of ${ports.fleets.root}`);
    return {
      name,
      status: 'failed',
      message: obstacles.map(({ path, reason }) => `${path}: ${reason}`).join('; '),
      hint: `${reachHint(obstacles, placeOf(ports))}, or keep the store elsewhere with --store DIR.`,
    };
  });
}

/** With QEMU's group and setgid: this user could not change the group of a base image later. */
async function makeStoreCommand({ hypervisor, machine }: Pick<Ports, 'hypervisor' | 'machine'>, root: string): Promise<string> {
  const qemu = await hypervisor.qemuUser().catch(() => undefined);
  const rights = qemu === undefined ? '-m 0755' : `-m 2755 -g ${qemu.gid}`;
  return `sudo install -d ${rights} -o ${machine.userName()} ${shellWord(root)}`;
}

export interface Demand {
  /** Members that will be started. */
  starting: number;
  memoryMiB: number;
  /** Overlays that will be created. */
  creating: number;
  virtualBytes: number;
  /** Clones that share memory; they are not among `starting`. */
  clones?: CloneDemand | undefined;
}

export async function checkDisk({ machine, fleets }: Pick<Ports, 'machine' | 'fleets'>, demand?: Demand): Promise<Check[]> {
  const { freeBytes, totalBytes } = await machine.diskSpace(fleets.root);
  const least = leastFreeBytes(totalBytes);
  const percent = Math.round((freeBytes / totalBytes) * 100);
  const free = `${prettyBytes(freeBytes, { binary: true })} free (${percent} %)`;
  const checks: Check[] = [
    freeBytes < least
      ? {
          name: 'free disk',
          status: 'failed',
          message: `only ${free} in ${fleets.root}, less than ${prettyBytes(least, { binary: true })}`,
          hint: 'Free some space ("cowherd report" shows its use), or keep the store elsewhere with --store DIR.',
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
            message: `${demand.creating} overlays could grow to ${prettyBytes(worst, { binary: true })}, but only ${prettyBytes(freeBytes, { binary: true })} are free`,
            hint: 'That is the worst case, when every guest fills its disk. Watch "cowherd report"; a full disk pauses the guests.',
          }
        : ok('disk growth', `even full, ${demand.creating} overlays fit (${prettyBytes(worst, { binary: true })})`),
    );
  }
  return checks;
}

export async function checkMemory({ machine }: Pick<Ports, 'machine'>, demand?: Demand): Promise<Check> {
  const { availableBytes, totalBytes } = await machine.memory();
  const available = prettyBytes(availableBytes, { binary: true });
  if (demand?.clones !== undefined) return checkCloneMemory(demand.clones, availableBytes);
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
    message: `${sum}, but only ${available} are available`,
    hint: `${fitting} of them fit. Start fewer, reduce --memory, or continue with --force.`,
  };
}

/** With clones, only clones are created. */
function checkCloneMemory({ count, eachBytes, onceBytes, isMeasured }: CloneDemand, availableBytes: number): Check {
  const [each, once, available] = [eachBytes, onceBytes, availableBytes].map((bytes) => prettyBytes(bytes, { binary: true }));
  const needed = count * eachBytes + onceBytes;
  const basis = isMeasured ? 'as the running ones do, and a quarter more' : 'an assumption, as none is running yet';
  const shared = onceBytes === 0 ? '' : ` and ${once} together`;
  const sum = `${count} clones are expected to need ${each} each (${basis})${shared}, ${prettyBytes(needed, { binary: true })} in all`;
  if (needed <= availableBytes) return ok('memory', `${sum}; ${available} are available`);
  const fitting = Math.max(0, Math.floor((availableBytes - onceBytes) / eachBytes));
  return {
    name: 'memory',
    status: 'failed',
    message: `${sum}, but only ${available} are available`,
    hint: `${fitting} of them fit. Create fewer, or continue with --force.`,
  };
}

/** Checks that the host has the firmware and TPM emulation that members need. */
export function checkMachine({ firmware, tpm }: DomainSpec, { hasUefi, hasTpm }: Platform): Check[] {
  const checks: Check[] = [];
  if (firmware === 'uefi')
    checks.push(
      hasUefi
        ? ok('firmware', 'uefi')
        : {
            name: 'firmware',
            status: 'failed',
            message: 'libvirt found no UEFI firmware',
            hint: 'On Debian and Ubuntu: sudo apt-get install ovmf',
          },
    );
  if (tpm)
    checks.push(
      hasTpm
        ? ok('tpm', 'emulated by swtpm')
        : {
            name: 'tpm',
            status: 'failed',
            message: 'libvirt cannot emulate a TPM',
            hint: 'On Debian and Ubuntu: sudo apt-get install swtpm swtpm-tools',
          },
    );
  return checks;
}

/**
 * @param force treat failures as warnings
 * @returns the warnings, as notes
 * @throws PREFLIGHT_FAILED, every failed check in the details
 */
export function assertChecks(checks: readonly Check[], force: boolean): string[] {
  const failed = checks.filter((check) => check.status === 'failed');
  if (failed.length > 0 && !force) {
    const only = failed.length === 1 ? failed[0] : undefined;
    throw new CowherdError(
      'PREFLIGHT_FAILED',
      only === undefined ? `${failed.length} checks failed; nothing was changed` : `${only.message}; nothing was changed`,
      {
        details:
          only === undefined ? failed.map(({ name, message, hint }) => `${name}: ${message}${hint === undefined ? '' : ` - ${hint}`}`) : [],
        hint: only?.hint ?? 'Fix these, or continue anyway with --force. "cowherd doctor" shows all checks.',
      },
    );
  }
  return checks
    .filter((check) => check.status !== 'ok' && !(check.name === 'accelerator'))
    .map(({ name, status, message, hint }) => `${name}: ${message}${status === 'warning' && hint !== undefined ? `. ${hint}` : ''}`);
}

export function ok(name: string, message: string): Check {
  return { name, status: 'ok', message };
}

export async function attempt(name: string, check: () => Promise<Check>): Promise<Check> {
  try {
    return await check();
  } catch (error) {
    const { message, hint } = reportOf(error);
    return { name, status: 'failed', message, ...(hint === undefined ? {} : { hint }) };
  }
}

/** @param version begins with two numbers, such as `7.2.22` */
export function atLeast(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first > major || (first === major && second >= minor);
}
