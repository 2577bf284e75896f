import type { TeardownLoss } from '../../services/fleet/teardown/teardown-loss.js';
import { bytes, plural } from '../terminal/format.js';

/** `6 members (6 running), 3 MiB of drift, 6 checkpoints`; without a size if it is not known. */
export function renderLoss({ members, running, driftBytes, checkpoints, interruptedFrom }: TeardownLoss): string {
  if (interruptedFrom !== undefined) return `its interrupted spawn from ${interruptedFrom}`;
  return [
    `${plural(members, 'member')} (${running} running)`,
    driftBytes === null ? 'everything that the guests have written' : `${bytes(driftBytes)} of drift`,
    ...(checkpoints === 0 ? [] : [plural(checkpoints, 'checkpoint')]),
  ].join(', ');
}
