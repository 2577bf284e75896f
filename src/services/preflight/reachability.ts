import type { BaseLookup } from '../../core/domain/template.js';
import { CowherdError } from '../../core/errors.js';
import { basesOf, type FleetRecord } from '../../core/fleet/record.js';
import { type PathObstacle, reachHint } from '../../core/host/reachability.js';
import { layersOf } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import type { ReachTarget } from '../../ports/machine.js';

/** Checks that QEMU, which runs as its own user, can reach the files of a guest, before anything is stopped. */

type ReachPorts = Pick<Ports, 'hypervisor' | 'machine' | 'fleets'>;

/** Paths of a fleet's member files, some of which may not exist yet. */
export function fleetTargets({ fleets }: Pick<Ports, 'fleets'>, fleet: string): ReachTarget[] {
  const { overlay, seed, nvram } = fleets.files(fleet, 'member');
  return [overlay, seed, nvram].map((path) => ({ path, needs: 'pass' }));
}

/** All paths of the store that guests need. Unreadable records are reported elsewhere. */
export async function storeTargets(ports: Pick<Ports, 'fleets' | 'bases'>): Promise<ReachTarget[]> {
  const fleets = await ports.fleets.list().catch(() => []);
  const { bases } = await ports.bases.list().catch(() => ({ bases: [] }));
  return [
    { path: `${ports.fleets.root}/probes`, needs: 'pass' },
    ...fleets.flatMap((fleet) => fleetTargets(ports, fleet)),
    ...bases.map(({ path }): ReachTarget => ({ path, needs: 'read' })),
  ];
}

/** Base images: libvirt does not change their owner. */
export function baseTargets(record: FleetRecord, imageOf: BaseLookup): ReachTarget[] {
  const images = basesOf(record).map((ref) => imageOf(ref));
  return images.flatMap((image) => layersOf(image).map(({ path }): ReachTarget => ({ path, needs: 'read' })));
}

/** @returns obstacles for QEMU's user; none if QEMU runs as this user */
export async function obstaclesOfQemu({ hypervisor, machine }: ReachPorts, targets: readonly ReachTarget[]): Promise<PathObstacle[]> {
  const user = await hypervisor.qemuUser();
  return user === undefined ? [] : machine.obstaclesFor(user, targets);
}

/** @throws PREFLIGHT_FAILED with every blocking path component and the command that fixes it */
export async function assertReachable(ports: ReachPorts, targets: readonly ReachTarget[]): Promise<void> {
  const [first, ...others] = await obstaclesOfQemu(ports, targets);
  if (first === undefined) return;
  throw new CowherdError('PREFLIGHT_FAILED', `QEMU cannot reach ${first.path}: ${first.reason}; nothing was changed`, {
    details: others.map(({ path, reason }) => `${path}: ${reason}`),
    hint: reachHint([first, ...others], placeOf(ports)),
  });
}

export function placeOf({ machine, fleets }: Pick<Ports, 'machine' | 'fleets'>): { isRoot: boolean; storeRoot: string } {
  return { isRoot: machine.isRoot(), storeRoot: fleets.root };
}
