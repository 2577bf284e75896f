import { isDenied, reportOf } from '../../core/errors.js';
import { isForeign } from '../../core/fleet/foreign-member.js';
import type { MarkedMember } from '../../core/fleet/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Ports } from '../../ports/index.js';
import { dropStrays, findStrays } from '../checkpoint/strays.js';
import { type FixableFinding, fixable } from './fixable-finding.js';

/** What members' disks hold of checkpoints against what is recorded of them. */
export async function examineCheckpoints(ports: Ports, record: FleetRecord, members: readonly MarkedMember[]): Promise<FixableFinding[]> {
  const findings: FixableFinding[] = [];
  for (const member of members) {
    const { name, index } = member;
    // That is told already, and what another domain may have open is left alone.
    if (member.unread !== undefined || isForeign(member, record.id) || member.overlayBytes === undefined) continue;
    try {
      const strays = await findStrays(ports, record, member);
      if (strays.size === 0) continue;
      const bytes = [...strays.values()].reduce((sum, of) => sum + of, 0);
      const message = `its disk holds a checkpoint that no record mentions: ${[...strays.keys()].join(', ')}`;
      const hint = `cowherd stopped waiting for a checkpoint that QEMU finished later. Remove it: cowherd verify ${record.name} --fix`;
      const mend = async (): Promise<void> => void (await dropStrays(ports, record, member));
      findings.push(fixable('leftover', name, message, { hint, bytes, mend }));
    } catch (error) {
      // The disk of a guest that runs is QEMU's user's: a user who may not read it learns nothing of it.
      if (isDenied(error)) continue;
      const hint = `Give it up, or take it anew: cowherd checkpoint ${record.name} ${index} --drop`;
      findings.push(fixable('damaged', name, reportOf(error).message, { hint }));
    }
  }
  return findings;
}
