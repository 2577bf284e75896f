import type { ErrorReport } from '../errors.js';

/** Savings of fleets on a platform that does not say how much its overlays use. All sizes in bytes. */
export interface FleetEstimate {
  fleet: string;
  members: number;
  base: { name: string; digest: string; bytes: number };
  /** Hosts that run members, each with one copy of the base image; null if it is not known. */
  hosts: number | null;
  /** One full copy of the base image per member. */
  fullCopies: { bytes: number };
  /** One copy of the base image per host. */
  shared: { bytes: number };
  /** The difference. What guests have written is not known, and is not part of it. */
  saved: { bytes: number; percent: number };
}

export interface EstimateReport {
  /** Distinguishes it from a measured report. */
  estimated: true;
  fleets: FleetEstimate[];
  /** Fleets that could not be estimated, and why. */
  failed: Array<{ fleet: string; error: ErrorReport }>;
  total: { members: number; fullCopies: { bytes: number }; shared: { bytes: number }; saved: { bytes: number; percent: number } };
}

/** @param fleet.hosts null counts as one host per member: nothing is claimed to be shared */
export function estimateFleet(fleet: Pick<FleetEstimate, 'fleet' | 'members' | 'base' | 'hosts'>): FleetEstimate {
  const fullCopies = { bytes: fleet.base.bytes * fleet.members };
  const shared = { bytes: fleet.base.bytes * Math.min(fleet.hosts ?? fleet.members, fleet.members) };
  return { ...fleet, fullCopies, shared, saved: savedOf(fullCopies.bytes, shared.bytes) };
}

/** Fleets on the same base image and the same hosts may share copies of it; they are counted for each fleet. */
export function totalEstimate(fleets: readonly FleetEstimate[], failed: EstimateReport['failed'] = []): EstimateReport {
  const sum = (of: (fleet: FleetEstimate) => number): number => fleets.reduce((total, fleet) => total + of(fleet), 0);
  const fullCopies = { bytes: sum((fleet) => fleet.fullCopies.bytes) };
  const shared = { bytes: sum((fleet) => fleet.shared.bytes) };
  return {
    estimated: true,
    fleets: [...fleets],
    failed,
    total: { members: sum(({ members }) => members), fullCopies, shared, saved: savedOf(fullCopies.bytes, shared.bytes) },
  };
}

function savedOf(full: number, shared: number): { bytes: number; percent: number } {
  const bytes = full - shared;
  return { bytes, percent: full === 0 ? 0 : Math.round((bytes / full) * 1000) / 10 };
}
