import { hasLostChain, withChain } from '../../core/domain/backing-chain.js';
import type { MemberDefinition } from '../../core/domain/domain-xml.js';
import type { BaseLookup } from '../../core/domain/template.js';
import { memberDisks } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { MemberPlan, Plan } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Ports } from '../../ports/index.js';
import { byName, memberOf } from '../run/run-plan.js';

const xmlBatch = 200;

/** Redefines members that start or get a fresh disk if their domain no longer lists the backing chain: "virsh blockpull" also ends the chain in the definition, and the guest would see an empty disk.
 * @param definitions of members that are redefined in any case
 */
export async function withChains(
  ports: Pick<Ports, 'hypervisor' | 'fleets' | 'domains'>,
  record: FleetRecord,
  members: readonly MemberIdentity[],
  plan: Plan,
  imageOf: BaseLookup,
  definitions: ReadonlyMap<string, MemberDefinition> = new Map(),
): Promise<{ plan: Plan; definitions: Map<string, MemberDefinition> }> {
  const repaired = new Map(definitions);
  const known = byName(members);
  const asked = plan.members.filter(needsChain).map(({ name }) => name);
  const defined = new Set<string>();
  for (let from = 0; from < asked.length; from += xmlBatch) {
    // Domains that cannot be read are refused elsewhere.
    const documents = await ports.hypervisor.readXml(asked.slice(from, from + xmlBatch), new Map());
    for (const [name, xml] of documents) {
      const lost = chainsOf(ports, record, memberOf(known, name), imageOf).filter(({ path, base }) => hasLostChain(xml, path, base));
      if (lost.length === 0) continue;
      const whole = await ports.domains.definition(name);
      if (whole === undefined) continue;
      repaired.set(name, { definition: '', xml: lost.reduce((text, { path, base }) => withChain(text, path, base), whole) });
      defined.add(name);
    }
  }
  const withDefine = (member: MemberPlan): MemberPlan => ({
    ...member,
    steps: [...member.steps.filter((step) => step !== 'start'), 'define', ...member.steps.filter((step) => step === 'start')],
  });
  return { plan: { ...plan, members: plan.members.map((one) => (defined.has(one.name) ? withDefine(one) : one)) }, definitions: repaired };
}

function needsChain({ steps }: MemberPlan): boolean {
  return (steps.includes('start') || steps.includes('overlay')) && !steps.includes('define') && !steps.includes('restore');
}

function chainsOf(ports: Pick<Ports, 'fleets'>, record: FleetRecord, member: MemberIdentity, imageOf: BaseLookup) {
  const { disk } = ports.fleets.files(record.name, member.name);
  return memberDisks(record, member).flatMap(({ stem, origin }) =>
    'base' in origin ? [{ path: disk(stem), base: imageOf(origin.base) }] : [],
  );
}
