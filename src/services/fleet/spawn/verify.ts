import { CowherdError } from '../../../core/errors.js';
import { isForeign, otherStoreHint } from '../../../core/fleet/foreign-member.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { MarkedMember } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';

/** What a spawn must not be asked to do to members that are there. */

/** Members that run keep their address on the old network until they are off: given to others meanwhile, it would be there twice. */
export function assertNetworkMayChange(recorded: FleetRecord | undefined, record: FleetRecord, observed: readonly MarkedMember[]): void {
  if (recorded === undefined || recorded.spec.network === record.spec.network) return;
  const reserved = new Set(recorded.members.filter((member) => member.address !== undefined).map((member) => member.name));
  const running = observed.filter(({ name, domain }) => reserved.has(name) && isOn(domain)).map((member) => member.index);
  if (running.length === 0) return;
  throw new CowherdError(
    'PREFLIGHT_FAILED',
    `Members ${formatIndexes(running)} of fleet ${record.name} run with addresses of ${recorded.spec.network}; nothing was changed`,
    { hint: `Stop them before they change to another network: cowherd stop ${record.name}` },
  );
}

export function assertNoForeign(record: FleetRecord, observed: readonly MarkedMember[]): void {
  const foreign = observed.filter((member) => member.unread === undefined && isForeign(member, record.id));
  const first = foreign[0];
  if (first === undefined) return;
  throw new CowherdError('FOREIGN_DOMAIN', `A domain named ${first.name} exists that is not of fleet ${record.name}; nothing was changed`, {
    details: foreign.slice(1, 10).map((member) => `also ${member.name}`),
    hint:
      first.mark === undefined
        ? `Choose another fleet name, or rename that domain: virsh domrename ${first.name} NEW`
        : otherStoreHint(first.name),
  });
}
