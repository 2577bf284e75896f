import type { BaseImage } from '../core/base.js';
import { CowherdError } from '../core/errors.js';
import type { FleetRecord } from '../core/fleet.js';
import { memberIdentity } from '../core/identity.js';
import { verifyName } from '../core/names.js';
import { type DomainSpec, defaultDomainSpec } from '../core/spec.js';
import type { Ports } from '../ports.js';
import { choosePlatform, loadTemplate, renderDefinitions } from './definitions.js';
import { verifiedBase } from './fleet-access.js';

export interface RenderOptions {
  fleet: string;
  index: number;
  /** For a fleet that does not exist yet: the base image in the store to render for. */
  base?: string | undefined;
  template?: string | undefined;
  spec?: Partial<Omit<DomainSpec, 'template'>> | undefined;
}

/** The domain XML of one member, as spawn would define it. Changes nothing. @throws BAD_TEMPLATE */
export async function renderMember(ports: Ports, options: RenderOptions): Promise<{ name: string; xml: string; definition: string }> {
  verifyName('fleet', options.fleet);
  const recorded = await ports.fleets.read(options.fleet);
  const base = await baseOf(ports, options, recorded);
  const template = await loadTemplate(ports, recorded, options.template);
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  // A fleet that does not exist yet has no id; zeros show where it goes.
  const id = recorded?.id ?? '00000000-0000-4000-8000-000000000000';
  const member = memberIdentity(options.fleet, id, options.index);
  const record: FleetRecord = {
    version: 1,
    id,
    name: options.fleet,
    base: { name: base.name, digest: base.digest },
    spec: { ...(recorded?.spec ?? defaultDomainSpec), ...given, ...(template.digest === undefined ? {} : { template: template.digest }) },
    createdAt: ports.clock.now().toISOString(),
    freshOverlayBytes: 0,
    members: [member],
  };
  const platform = await choosePlatform(ports, record.spec.virtType);
  const definition = renderDefinitions(ports, record, [member], base, platform, template).get(member.name);
  if (definition === undefined) throw new Error('one member was rendered and is not there');
  return { name: member.name, ...definition };
}

async function baseOf(ports: Ports, { base, fleet }: RenderOptions, recorded: FleetRecord | undefined): Promise<BaseImage> {
  if (base !== undefined) return ports.bases.find(base);
  if (recorded !== undefined) return verifiedBase(ports, recorded.base);
  throw new CowherdError('FLEET_NOT_FOUND', `There is no fleet ${fleet} to render for`, {
    hint: 'Name a base image of the store with --base NAME to render for a fleet that does not exist yet.',
  });
}

/** Writes the built-in template to a new file. @throws BAD_USAGE where the file exists */
export async function ejectTemplate(ports: Pick<Ports, 'builtInTemplate' | 'writeNewFile'>, path: string): Promise<void> {
  await ports.writeNewFile(path, await ports.builtInTemplate());
}
