import { memberDisks } from '../core/disks.js';
import { hasDisk } from '../core/domain-xml.js';
import type { CowherdError } from '../core/errors.js';
import type { FleetRecord } from '../core/fleet.js';
import type { ObservedMember } from '../core/observation.js';
import { type MemberPlan, type Plan, unreadReason } from '../core/plan.js';
import type { Ports } from '../ports.js';
import { byName, memberOf } from './change.js';

/** Members whose domain has other disks than their own. */

const xmlBatch = 200;

/**
 * Refuses members whose domain has another disk by now: after an external snapshot our overlay is what that one stands on, and
 * one that was edited by hand may have somebody else's, which its guest would write to.
 * @param isAsked which of the planned members are looked at
 */
export async function withoutStrangeDisks(
  ports: Ports,
  record: FleetRecord,
  observed: readonly ObservedMember[],
  plan: Plan,
  isAsked: (member: MemberPlan) => boolean = () => true,
): Promise<Plan> {
  const members = byName(observed);
  const asked = plan.members.filter(isAsked);
  const strange = new Set<string>();
  const failed = new Map<string, CowherdError>();
  // In parts: nobody needs the XML of a thousand domains at once.
  for (let from = 0; from < asked.length; from += xmlBatch) {
    const names = asked.slice(from, from + xmlBatch).map((member) => member.name);
    const documents = await ports.hypervisor.readXml(names, failed);
    for (const name of names.filter((name) => !failed.has(name))) {
      const xml = documents.get(name);
      const { disk } = ports.fleets.files(record.name, name);
      const member = memberOf(members, name);
      // A disk that was added while it ran is neither there nor in its domain yet.
      const isOwn = (stem: string): boolean => member.missingDisks?.includes(stem) === true || hasDisk(xml ?? '', disk(stem));
      // Undefined by a reset that was interrupted before it defined it again.
      if (xml === undefined ? redefines(record) : memberDisks(record, member).every(({ stem }) => isOwn(stem))) continue;
      strange.add(name);
    }
  }
  const keep = `${record.spec.firmware === 'uefi' ? ' --keep-nvram' : ''}${record.spec.tpm ? ' --keep-tpm' : ''}`;
  return {
    ...plan,
    members: plan.members.filter(({ name }) => !strange.has(name) && !failed.has(name)),
    refused: [
      ...plan.refused,
      ...[...failed].map(([name, error]) => unreadReason(name, error)),
      ...[...strange].map((name) => ({
        name,
        reason: 'its domain does not have its own disks any more',
        hint: `Was the store moved? "cowherd base relocate" mends that. Else see "virsh domblklist ${name}". A snapshot can be merged back with "virsh blockcommit"; a domain that was edited is made anew, on its own disks: virsh undefine ${name}${keep}; cowherd spawn ${record.name}`,
      })),
    ],
  };
}

/** A TPM's state is libvirt's, and goes with the domain alone. */
export function redefines({ spec }: Pick<FleetRecord, 'spec'>): boolean {
  return spec.tpm;
}
