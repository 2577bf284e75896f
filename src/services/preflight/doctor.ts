import { assertWithin, limits } from '../../core/limits.js';
import type { Ports } from '../../ports/index.js';
import { type Check, checkDisk, checkMemory, checkStore } from './checks.js';
import {
  checkAccelerator,
  checkDaemonLimits,
  checkDefaultNetwork,
  checkGuestTools,
  checkKsm,
  checkKvmDevice,
  checkSharedMemory,
  checkTools,
  checkTpmFiles,
  checkUser,
} from './host-checks.js';
import { checkNetwork } from './network-check.js';
import { storeTargets } from './reachability.js';

export interface DoctorOptions {
  /** Maximum number of connections that cowherd opens. */
  sessions: number;
  /** Number and size of the planned guests; 0 to skip that check. */
  count: number;
  memoryMiB: number;
  virtualBytes: number;
  network: string;
  /** Run the accelerator probe even if its result is cached. */
  fresh: boolean;
}

/** Runs all preflight checks independently of each other. */
export async function doctor(ports: Ports, options: DoctorOptions): Promise<Check[]> {
  const { count, memoryMiB, virtualBytes, network } = options;
  assertWithin({ count: [count, { ...limits.members, min: 0 }], memoryMiB: [memoryMiB, limits.memoryMiB] });
  const tools = await checkTools(ports);
  const demand = count === 0 ? undefined : { starting: count, creating: count, memoryMiB, virtualBytes };
  const local = [
    ...(await checkStore(ports, await storeTargets(ports))),
    ...(await checkDisk(ports, demand)),
    await checkMemory(ports, demand),
    await checkKsm(ports),
  ];
  if (tools.some((check) => check.name === 'libvirt' && check.status === 'failed')) return [...tools, ...local];
  return [
    ...tools,
    await checkUser(ports),
    await checkAccelerator(ports, options.fresh),
    ...(await checkKvmDevice(ports)),
    ...(await checkTpmFiles(ports)),
    ...(await checkSharedMemory(ports)),
    ...local,
    await checkNetwork(ports, network),
    ...(network === 'network=default' ? [] : await checkDefaultNetwork(ports)),
    ...(await checkGuestTools(ports)),
    ...(await checkDaemonLimits(ports, options.sessions, count)),
  ];
}
