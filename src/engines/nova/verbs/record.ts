import { CowherdError } from '../../../core/errors.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { loadFleet } from '../../../services/fleet/access.js';
import type { NovaContext } from '../context.js';

/** A fleet in the cloud; its record says where its members are placed. */
export type NovaRecord = FleetRecord & { placement: NonNullable<FleetRecord['placement']> };

export const engineName = 'openstack';

/** A setting that says what a rebuilt record lacks: members cannot be added before it is given again. */
export const lostSetting = 'lost';

/** @throws FLEET_NOT_FOUND, STATE_DAMAGED; BAD_USAGE if it is a fleet on another platform */
export async function loadNovaFleet(context: NovaContext, fleet: string): Promise<NovaRecord> {
  const { ports, uri } = context;
  return ofThisProject(context, asNova(await loadFleet(ports, fleet), uri));
}

/** In a store that several projects share, a fleet of another one must not be taken for this one's. @throws BAD_USAGE */
export async function ofThisProject({ cloud, title }: Pick<NovaContext, 'cloud' | 'title'>, record: NovaRecord): Promise<NovaRecord> {
  const project = await cloud.projectId();
  const { place } = record.placement;
  if (place === undefined || project === undefined || place === project) return record;
  throw new CowherdError('BAD_USAGE', `Fleet ${record.name} is in another project than that of ${title}`, {
    details: [`its project: ${place}`, `this one: ${project}`],
    hint: 'Connect to its project (--connect openstack://CLOUD), or give each project a store of its own (--store DIR).',
  });
}

/** The record, or the intended record of an interrupted spawn. */
export async function intendedFleet(context: NovaContext, fleet: string): Promise<NovaRecord> {
  const { ports, uri } = context;
  const operation = (await ports.fleets.unfinished(fleet))?.operation;
  // The intent of an interrupted rebase is not the actual image of each member.
  if (operation?.record === undefined || operation.verb === 'rebase') return loadNovaFleet(context, fleet);
  return ofThisProject(context, asNova(operation.record, uri));
}

export function asNova(record: FleetRecord, uri: string): NovaRecord {
  const { placement } = record;
  if (placement?.engine === engineName) return { ...record, placement };
  throw new CowherdError('BAD_USAGE', `Fleet ${record.name} is not in ${uri}: its members are domains of a host`, {
    hint: 'Leave out --connect, or give the store of the cloud with --store.',
  });
}

/** A text setting of the placement. */
export function settingOf({ placement }: Pick<NovaRecord, 'placement'>, name: string): string | undefined {
  const value = placement.settings[name];
  return typeof value === 'string' ? value : undefined;
}

/** A setting with several values. */
export function listOf({ placement }: Pick<NovaRecord, 'placement'>, name: string): string[] | undefined {
  const value = placement.settings[name];
  return value === undefined ? undefined : [value].flat();
}
