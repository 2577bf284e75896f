import type { Outcome } from '../../../core/fleet/outcome.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import type { Ports } from '../../../ports/index.js';
import { checkpoint } from '../../../services/checkpoint/take.js';
import { loadFleet, type WorkOptions } from '../../../services/fleet/access.js';
import { start, stop } from '../../../services/fleet/power.js';
import { reset } from '../../../services/fleet/reset/reset.js';
import { teardown } from '../../../services/fleet/teardown/teardown.js';
import type { Request } from '../../protocol.js';

/** The same call as that of the command. */
export async function perform(ports: Ports, request: Request, work: WorkOptions & { dryRun?: boolean }): Promise<Outcome> {
  const { verb, fleet, warm, force } = request;
  const members = await membersOf(ports, request);
  const options = { ...work, fleet, members };
  if (verb === 'start') return start(ports, options);
  if (verb === 'stop') return stop(ports, { ...options, force });
  if (verb === 'reset') return reset(ports, { ...options, warm });
  if (verb === 'checkpoint') return checkpoint(ports, options);
  return teardown(ports, options);
}

/** As words of the command line. A teardown of all members is one of the fleet. @throws FLEET_NOT_FOUND */
export async function membersOf(ports: Ports, { verb, fleet, members }: Request): Promise<string[]> {
  if (verb !== 'teardown') return [formatIndexes(members)];
  const record = await loadFleet(ports, fleet);
  const chosen = new Set(members);
  return record.members.every(({ index }) => chosen.has(index)) ? [] : [formatIndexes(members)];
}

export function commandOf({ verb, fleet, warm, force }: Request, members: readonly string[]): string {
  return ['cowherd', verb, fleet, ...members, ...(warm === true ? ['--warm'] : []), ...(force === true ? ['--force'] : [])].join(' ');
}
