import { CowherdError } from '../../../../core/errors.js';
import { memberIdentity } from '../../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../../core/fleet/record.js';
import { coveredValues, coverHostKey, type Seed } from '../../../../core/guest/seed.js';
import type { BaseImage } from '../../../../core/image/base.js';
import { assertName } from '../../../../core/names.js';
import { defaultDomainSpec, type GivenSpec } from '../../../../core/spec/spec.js';
import type { BuiltInTemplate, Ports } from '../../../../ports/index.js';
import { composeSecrets, instanceIds, loadSeedSources, renderSeeds, type SeedFiles } from '../../../guest/seeds.js';
import { choosePlatform, keptAccelerator } from '../../../host/accelerator.js';
import { loadFleet, verifiedBase } from '../../access.js';
import { verifiedBases } from '../../disks/fresh-disks.js';
import { loadTemplate, renderDefinitions } from './definitions.js';

export interface RenderOptions {
  fleet: string;
  index: number;
  /** For a fleet that does not exist yet: a base image in the store. */
  base?: string | undefined;
  template?: string | undefined;
  spec?: GivenSpec | undefined;
}

/** The domain XML of one member, as spawn would define it. Changes nothing. @throws BAD_TEMPLATE */
export async function renderMember(ports: Ports, options: RenderOptions): Promise<{ name: string; xml: string; definition: string }> {
  assertName('fleet', options.fleet);
  const recorded = await ports.fleets.read(options.fleet);
  const base = await baseOf(ports, options, recorded);
  const template = await loadTemplate(ports, recorded, options.template);
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  // A fleet that does not exist yet has no id; zeros show where it goes.
  const id = recorded?.id ?? '00000000-0000-4000-8000-000000000000';
  // An existing member keeps its address or port.
  const member =
    recorded?.members.find((one) => one.index === options.index) ?? memberIdentity(options.fleet, id, options.index, recorded?.spec.nics);
  const record: FleetRecord = {
    version: 1,
    id,
    name: options.fleet,
    base: { name: base.name, digest: base.digest },
    ...keptAccelerator(recorded, options.spec),
    spec: { ...(recorded?.spec ?? defaultDomainSpec), ...given, ...(template.digest === undefined ? {} : { template: template.digest }) },
    createdAt: ports.clock.now().toISOString(),
    freshOverlayBytes: 0,
    members: [member],
  };
  const platform = await choosePlatform(ports, record);
  const imageOf = await verifiedBases(ports, record);
  const definition = (await renderDefinitions(ports, record, [member], imageOf, platform, template)).get(member.name);
  if (definition === undefined) throw new Error('the rendered member is missing');
  return { name: member.name, ...definition };
}

async function baseOf(ports: Ports, { base, fleet }: RenderOptions, recorded: FleetRecord | undefined): Promise<BaseImage> {
  if (base !== undefined) return ports.bases.find(base);
  if (recorded !== undefined) return verifiedBase(ports, recorded.base);
  throw new CowherdError('FLEET_NOT_FOUND', `There is no fleet ${fleet} to render for`, {
    hint: 'Name a base image of the store with --base NAME to render for a fleet that does not exist yet.',
  });
}

/** A part of a member's seed, with all secrets masked. Changes nothing.
 * @throws BAD_TEMPLATE; BAD_USAGE if the fleet has no such part
 */
export async function renderSeedPart(
  ports: Ports,
  { fleet, index, part, files }: { fleet: string; index: number; part: keyof Seed['files']; files?: SeedFiles },
): Promise<{ name: string; instanceId: string; text: string }> {
  const recorded = await loadFleet(ports, fleet);
  const member = recorded.members.find((one) => one.index === index) ?? memberIdentity(fleet, recorded.id, index, recorded.spec.nics);
  const { sources } = await loadSeedSources(ports, recorded, files);
  const secrets = coveredValues(await composeSecrets(ports, recorded, undefined));
  const placed = await ports.seeds.observe(fleet);
  const instanceOf = instanceIds(placed, '00000000', () => false);
  const seed = (await renderSeeds(recorded, [member], sources, secrets, instanceOf)).get(member.name);
  const text = seed === undefined ? undefined : coverHostKey(seed).files[part];
  if (seed === undefined || text === undefined)
    throw new CowherdError('BAD_USAGE', `Fleet ${fleet} has no ${part}`, { hint: `Add one: cowherd spawn ${fleet} --${part} FILE` });
  return { name: member.name, instanceId: seed.instanceId, text };
}

/** Writes a built-in template to a new file. @throws BAD_USAGE if the file exists */
export async function ejectTemplate(
  ports: Pick<Ports, 'builtInTemplate' | 'writeNewFile'>,
  path: string,
  template: BuiltInTemplate = 'domain',
): Promise<void> {
  await ports.writeNewFile(path, await ports.builtInTemplate(template));
}
