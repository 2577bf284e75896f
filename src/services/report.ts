import { formatBaseRef } from '../core/base.js';
import { chainBytes, layersOf } from '../core/base-chain.js';
import { CowherdError, type ErrorReport, reportOf } from '../core/errors.js';
import { type FleetReport, reportFleet, type Savings, totalSavings } from '../core/savings.js';
import type { Ports } from '../ports.js';
import { loadFleet } from './fleet-access.js';

/** Savings and drift of one fleet, from the sizes of its files. No process per overlay, and nothing asked of libvirt. */
export async function report(ports: Ports, fleet: string): Promise<FleetReport> {
  const record = await loadFleet(ports, fleet);
  const base = await ports.bases.get(record.base);
  if (base === undefined) {
    throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(record.base)} is not in the store any more`, {
      hint: `Bring it back by importing the file with sha256 ${record.base.digest} under the name ${record.base.name}.`,
    });
  }
  const sizes = await ports.fleets.overlaySizes(fleet);
  const { path, digest, virtualBytes } = base;
  const layers = layersOf(base).map((layer) => ({ path: layer.path, allocatedBytes: layer.allocatedBytes }));
  return reportFleet({
    fleet,
    base: { path, digest, allocatedBytes: chainBytes(base), virtualBytes, layers },
    freshOverlayBytes: record.freshOverlayBytes,
    seedBytes: await ports.seeds.allocatedBytes(fleet),
    members: record.members.flatMap(({ name }) => {
      const bytes = sizes.get(name);
      return bytes === undefined ? [] : [{ name, allocatedBytes: bytes }];
    }),
  });
}

export interface StoreReport {
  fleets: FleetReport[];
  total: Savings & { bases: number; baseBytes: number };
  /** Fleets that cannot be accounted for, and why. */
  failed: Array<{ fleet: string; error: ErrorReport }>;
}

/** All fleets, or those named; a base image that several share is counted once. */
export async function reportAll(ports: Ports, fleets?: readonly string[]): Promise<StoreReport> {
  const reports: FleetReport[] = [];
  const failed: StoreReport['failed'] = [];
  for (const fleet of fleets ?? (await ports.fleets.list())) {
    try {
      reports.push(await report(ports, fleet));
    } catch (error) {
      failed.push({ fleet, error: reportOf(error) });
    }
  }
  return { fleets: reports, total: totalSavings(reports), failed };
}
