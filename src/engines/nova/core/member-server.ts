import type { MemberIdentity } from '../../../core/fleet/identity.js';
import { baseOf, type FleetRecord } from '../../../core/fleet/record.js';
import { metadataOf, tagsOf } from './member-tags.js';
import type { NewServer } from './new-server.js';

/** Prefix of metadata that holds the settings of the fleet, so that its record can be rebuilt. */
export const settingPrefix = 'cowherd:set:';

/** Limit of the API for a value. Longer settings are left out, and are then not recovered. */
const longestValue = 255;

/** The server of a member as it is created. */
export function serverOf(
  record: FleetRecord & { placement: NonNullable<FleetRecord['placement']> },
  member: MemberIdentity,
  userData: string | undefined,
): NewServer {
  const { settings, images } = record.placement;
  const base = baseOf(record, member);
  const mark = { fleet: record.name, fleetId: record.id, index: member.index, digest: base.digest };
  const tags = tagsOf(mark);
  const text = (name: string): string | undefined => (settings[name] === undefined ? undefined : String(settings[name]));
  const [network = 'auto', keyName, zone] = [text('network'), text('key'), text('az')];
  const groups = settings.securityGroups;
  return {
    name: member.name,
    imageId: images[base.digest] ?? '',
    flavorId: text('flavorId') ?? '',
    networks: network === 'none' || network === 'auto' ? network : [network],
    ...(keyName === undefined ? {} : { keyName }),
    ...(zone === undefined ? {} : { zone }),
    ...(groups === undefined ? {} : { securityGroups: [groups].flat() }),
    ...(userData === undefined ? {} : { userData }),
    tags,
    uniqueTag: tags.at(-1) ?? '',
    metadata: { ...metadataOf(mark), 'cowherd:base': base.name, ...settingsOf(record) },
  };
}

function settingsOf({ placement, spec }: Pick<FleetRecord, 'placement' | 'spec'>): Record<string, string> {
  const entries: Array<[string, string]> = [
    ...Object.entries(placement?.settings ?? {}).map(([name, value]): [string, string] => [name, JSON.stringify(value)]),
    ['sshUser', JSON.stringify(spec.sshUser)],
    ['seed', JSON.stringify(spec.seed)],
  ];
  return Object.fromEntries(entries.filter(([, text]) => text.length <= longestValue).map(([name, text]) => [settingPrefix + name, text]));
}
