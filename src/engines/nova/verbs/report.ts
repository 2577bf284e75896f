import { reportOf } from '../../../core/errors.js';
import { type EstimateReport, estimateFleet, type FleetEstimate, totalEstimate } from '../../../core/fleet/estimate.js';
import type { NovaContext } from '../context.js';
import { observeFleet } from './observe.js';
import { loadNovaFleet } from './record.js';

/**
 * An estimate of the savings: one copy of the image per member, against one per host that runs members. Nova does not say whether its
 * hosts use overlays, nor how large they are.
 */
export async function report(
  context: NovaContext,
  fleets: readonly string[] | undefined,
  { single = false }: { single?: boolean } = {},
): Promise<EstimateReport> {
  const names = fleets ?? (await context.ports.fleets.list());
  if (single && names.length === 1) return totalEstimate([await estimate(context, names[0] ?? '')]);
  const found: FleetEstimate[] = [];
  const failed: EstimateReport['failed'] = [];
  for (const fleet of names) {
    try {
      found.push(await estimate(context, fleet));
    } catch (error) {
      failed.push({ fleet, error: reportOf(error) });
    }
  }
  return totalEstimate(found, failed);
}

async function estimate(context: NovaContext, fleet: string): Promise<FleetEstimate> {
  const record = await loadNovaFleet(context, fleet);
  const { members } = await observeFleet(context, record);
  const servers = members.flatMap(({ server }) => server ?? []);
  const id = record.placement.images[record.base.digest] ?? '';
  const image = await context.cloud.images.get(id);
  // A server without a host has no disk.
  const placed = servers.filter(({ hostId }) => hostId !== '');
  return estimateFleet({
    fleet,
    members: placed.length,
    base: { ...record.base, bytes: image?.bytes ?? 0 },
    hosts: new Set(placed.map(({ hostId }) => hostId)).size,
  });
}
