import type { BaseLookup } from '../../core/domain/template.js';
import { CowherdError } from '../../core/errors.js';
import { basesOf, type FleetRecord } from '../../core/fleet/record.js';
import { type PathObstacle, reachHint } from '../../core/host/reachability.js';
import { layersOf } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import type { ReachTarget } from '../../ports/machine.js';

/** Whether QEMU, which runs as a user of its own, gets to the files that a guest needs. Asked before anything is stopped. */

type ReachPorts = Pick<Ports, 'hypervisor' | 'machine' | 'fleets'>;

/** Where the files of a fleet's members are, of which some may not be there yet. */
export function fleetTargets({ fleets }: Pick<Ports, 'fleets'>, fleet: string): ReachTarget[] {
  const { overlay, seed, nvram } = fleets.files(fleet, 'member');
  return [overlay, seed, nvram].map((path) => ({ path, needs: 'pass' }));
}

/** All of the store that guests need. What cannot be read says so elsewhere. */
export async function storeTargets(ports: Pick<Ports, 'fleets' | 'bases'>): Promise<ReachTarget[]> {
  const fleets = await ports.fleets.list().catch(() => []);
  const { bases } = await ports.bases.list().catch(() => ({ bases: [] }));
  return [
    { path: `${ports.fleets.root}/probes`, needs: 'pass' },
    ...fleets.flatMap((fleet) => fleetTargets(ports, fleet)),
    ...bases.map(({ path }): ReachTarget => ({ path, needs: 'read' })),
  ];
}

/** Base images, whose owner libvirt leaves alone. */
export function baseTargets(record: FleetRecord, imageOf: BaseLookup): ReachTarget[] {
  const images = basesOf(record).map((ref) => imageOf(ref));
  return images.flatMap((image) => layersOf(image).map(({ path }): ReachTarget => ({ path, needs: 'read' })));
}

/** @returns what is in the way of QEMU's user; nothing where it is this user */
export async function obstaclesOfQemu({ hypervisor, machine }: ReachPorts, targets: readonly ReachTarget[]): Promise<PathObstacle[]> {
  const user = await hypervisor.qemuUser();
  return user === undefined ? [] : machine.obstaclesFor(user, targets);
}

/** @throws PREFLIGHT_FAILED, naming every component that keeps QEMU out, and the command that lets it in */
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
