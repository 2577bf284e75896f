import { isDenied, reportOf } from '../../core/errors.js';
import { isForeign } from '../../core/fleet/foreign-member.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Ports } from '../../ports/index.js';
import { dropStrays, findStrays } from '../checkpoint/strays.js';
import { type FixableFinding, fixable } from './fixable-finding.js';

/** Compares the checkpoints in members' disks with their records. */
export async function examineCheckpoints(ports: Ports, record: FleetRecord, members: readonly MarkedMember[]): Promise<FixableFinding[]> {
  const findings: FixableFinding[] = [];
  for (const member of members) {
    const { name, index } = member;
    // Already reported; files that another domain may have open are not read.
    if (member.unread !== undefined || isForeign(member, record.id) || member.overlayBytes === undefined) continue;
    try {
      const strays = await findStrays(ports, record, member);
      if (strays.size === 0) continue;
      const bytes = [...strays.values()].reduce((sum, of) => sum + of, 0);
      const message = `its disk contains a checkpoint without a record: ${[...strays.keys()].join(', ')}`;
      const hint = `cowherd stopped waiting for a checkpoint that QEMU finished later. Remove it: cowherd verify ${record.name} --fix`;
      const fix = async (): Promise<void> => void (await dropStrays(ports, record, member));
      findings.push(fixable('leftover', name, message, { hint, bytes, fix }));
    } catch (error) {
      // The disk of a running guest belongs to QEMU's user and may be unreadable.
      if (isDenied(error)) continue;
      const hint = `Remove it, then take a new one: cowherd checkpoint ${record.name} ${index} --drop`;
      findings.push(fixable('damaged', name, reportOf(error).message, { hint }));
    }
  }
  return findings;
}
