import type { Ports } from '../../../ports/index.js';
import { type Loss, lossInRecord } from '../loss.js';
import { freezeWithoutFleet, intendedRecord } from './teardown.js';

/** What a teardown would remove permanently. */
export interface TeardownLoss extends Loss {
  fleet: string;
  /** The source VM of a spawn that was interrupted before the fleet existed. */
  interruptedFrom?: string;
}

/** @throws FLEET_NOT_FOUND, MEMBER_NOT_FOUND */
export async function teardownLoss(ports: Ports, fleet: string, members: readonly string[]): Promise<TeardownLoss> {
  const freeze = await freezeWithoutFleet(ports, fleet);
  if (freeze !== undefined) return { fleet, members: 0, running: 0, driftBytes: 0, checkpoints: 0, interruptedFrom: freeze.domain };
  return { fleet, ...(await lossInRecord(ports, await intendedRecord(ports, fleet), members)) };
}
