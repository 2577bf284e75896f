import type { TeardownLoss } from '../../services/fleet/teardown/teardown-loss.js';
import { bytes, plural } from '../terminal/format.js';

/** `6 members (6 running), 3 MiB of drift, 6 checkpoints`. */
export function renderLoss({ members, running, driftBytes, checkpoints, interruptedFrom }: TeardownLoss): string {
  if (interruptedFrom !== undefined) return `its interrupted spawn from ${interruptedFrom}`;
  return [
    `${plural(members, 'member')} (${running} running)`,
    `${bytes(driftBytes)} of drift`,
    ...(checkpoints === 0 ? [] : [plural(checkpoints, 'checkpoint')]),
  ].join(', ');
}
