import { type Addition, additionsHint, additionsIn, withTexts } from '../../../core/domain/additions.js';
import { targetAbove } from '../../../core/domain/backing-chain.js';
import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import type { ObservedMember } from '../../../core/fleet/observation.js';
import type { Plan } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { Ports } from '../../../ports/index.js';
import { paced } from '../../run/pace.js';
import { byName, memberOf } from '../../run/run-plan.js';
import { foreignDiskHint } from '../disks/foreign-disks.js';

const xmlBatch = 200;

/** Refuses to redefine members whose domain has a disk, network card or other device that was added by hand: the new definition would lose it. A title and a description are kept.
 * @param definitions the new definitions
 * @param earlier the previous definitions, if the spec or the template changes
 */
export async function withoutAdditions(
  ports: Pick<Ports, 'hypervisor' | 'fleets'>,
  record: FleetRecord,
  observed: readonly ObservedMember[],
  plan: Plan,
  definitions: ReadonlyMap<string, MemberDefinition>,
  earlier: ReadonlyMap<string, MemberDefinition> | undefined,
  signal?: AbortSignal,
): Promise<{ plan: Plan; definitions: Map<string, MemberDefinition> }> {
  const members = byName(observed);
  const pace = paced(signal);
  const kept = new Map(definitions);
  const refused: Plan['refused'] = [];
  const asked = plan.members
    .filter(({ name, steps }) => steps.includes('define') && members.get(name)?.domain !== undefined)
    .map(({ name }) => name);
  for (let from = 0; from < asked.length; from += xmlBatch) {
    // Domains that cannot be read are refused elsewhere.
    const documents = await ports.hypervisor.readXml(asked.slice(from, from + xmlBatch), new Map());
    for (const [name, xml] of documents) {
      await pace();
      const member = memberOf(members, name);
      const definition = definitions.get(name);
      if (definition === undefined) continue;
      const rendered = [definition.xml, ...(earlier?.get(name) === undefined ? [] : [earlier.get(name)?.xml ?? ''])];
      const added = additionsIn(xml, member, record.name, rendered);
      if (added.length > 0) refused.push(refusalOf(ports, record, member, xml, added));
      else kept.set(name, { ...definition, xml: withTexts(definition.xml, xml, rendered) });
    }
  }
  const names = new Set(refused.map(({ name }) => name));
  return {
    plan: { ...plan, members: plan.members.filter(({ name }) => !names.has(name)), refused: [...plan.refused, ...refused] },
    definitions: kept,
  };
}

function refusalOf(
  ports: Pick<Ports, 'fleets'>,
  record: FleetRecord,
  member: ObservedMember,
  xml: string,
  added: readonly Addition[],
): Plan['refused'][number] {
  const { name } = member;
  // A snapshot of another tool contains the guest's later writes.
  const isOnTop = targetAbove(xml, ports.fleets.files(record.name, name).overlay) !== undefined;
  return {
    name,
    reason: `redefining it would lose what was added to its domain: ${added.map(({ what }) => what).join(', ')}`,
    hint: isOnTop ? foreignDiskHint(ports, record, member, xml) : additionsHint(name, added),
  };
}
