import { hasDisk } from '../../../core/domain/domain-xml.js';
import type { CowherdError } from '../../../core/errors.js';
import { memberDisks } from '../../../core/fleet/disks.js';
import { unreadReason } from '../../../core/fleet/foreign-member.js';
import { foreignDiskReasonHint } from '../../../core/fleet/kept-disk.js';
import { isOn, type ObservedMember } from '../../../core/fleet/observation.js';
import type { MemberPlan, Plan } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { Ports } from '../../../ports/index.js';
import { byName, memberOf } from '../../run/run-plan.js';

/** Members whose domain uses other disks than their own. */

const xmlBatch = 200;

/** Refuses members whose domain uses another disk: after an external snapshot, cowherd's overlay is its backing file; after a manual edit, it may be the disk of another domain.
 * @param isAsked selects the planned members to check
 */
export async function refuseForeignDisks(
  ports: Ports,
  record: FleetRecord,
  observed: readonly ObservedMember[],
  plan: Plan,
  isAsked: (member: MemberPlan) => boolean = () => true,
): Promise<Plan> {
  const members = byName(observed);
  const asked = plan.members.filter(isAsked);
  const strange = new Map<string, string>();
  const failed = new Map<string, CowherdError>();
  // In batches, to limit memory use.
  for (let from = 0; from < asked.length; from += xmlBatch) {
    const names = asked.slice(from, from + xmlBatch).map((member) => member.name);
    const documents = await ports.hypervisor.readXml(names, failed);
    for (const name of names.filter((name) => !failed.has(name))) {
      const xml = documents.get(name);
      const { disk } = ports.fleets.files(record.name, name);
      const member = memberOf(members, name);
      // A disk that was added while the member was running does not exist yet, neither as file nor in the domain.
      const isOwn = (stem: string): boolean => member.missingDisks?.includes(stem) === true || hasDisk(xml ?? '', disk(stem));
      // An interrupted reset may have undefined the domain.
      const lacking = memberDisks(record, member).filter(({ stem }) => !isOwn(stem));
      if (xml === undefined ? redefines(record) : lacking.length === 0) continue;
      strange.set(name, foreignDiskHint(ports, record, member, xml ?? ''));
    }
  }
  return {
    ...plan,
    members: plan.members.filter(({ name }) => !strange.has(name) && !failed.has(name)),
    refused: [
      ...plan.refused,
      ...[...failed].map(([name, error]) => unreadReason(name, error)),
      ...[...strange].map(([name, hint]) => ({ name, reason: 'its domain no longer uses its own disks', hint })),
    ],
  };
}

/** How to restore the member's own disks. */
export function foreignDiskHint(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: ObservedMember, xml: string): string {
  const { name, index } = member;
  const { disk } = ports.fleets.files(record.name, name);
  const paths = memberDisks(record, member).map(({ stem }) => disk(stem));
  const { firmware, tpm } = record.spec;
  const keep = [...(firmware === 'uefi' ? ['--keep-nvram'] : []), ...(tpm ? ['--keep-tpm'] : [])];
  return foreignDiskReasonHint({ fleet: record.name, index, name, isOn: isOn(member.domain) }, paths, xml, keep);
}

/** libvirt keeps the TPM's state, and removes it only with the domain. */
export function redefines({ spec }: Pick<FleetRecord, 'spec'>): boolean {
  return spec.tpm;
}
