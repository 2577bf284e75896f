import { randomUUID } from 'node:crypto';
import { CowherdError } from '../../../core/errors.js';
import { type FleetRecord, growMembers } from '../../../core/fleet/record.js';
import { type DomainSpec, defaultDomainSpec, type SourceKind } from '../../../core/spec/spec.js';
import { assertSpec, withImpliedSeed } from '../../../services/fleet/spawn/input/inputs.js';
import type { SpawnOptions } from '../../../services/fleet/spawn/input/options.js';
import type { NovaContext } from '../context.js';
import { isDeleting, type NovaMember, neverRan } from '../core/members.js';
import type { ChosenImage } from './choose-image.js';
import type { ComposedPlacement } from './placement.js';
import { engineName, lostSetting, type NovaRecord, settingOf } from './record.js';

/** Computes the target record of a fleet from the options. @throws NOT_SUPPORTED, BAD_USAGE, STATE_DAMAGED */
export function composeRecord(
  { ports }: Pick<NovaContext, 'ports'>,
  options: SpawnOptions,
  recorded: NovaRecord | undefined,
  { image, placement, digests }: { image: ChosenImage; placement: ComposedPlacement; digests: Partial<Record<SourceKind, string>> },
): NovaRecord {
  const spec = composeSpec(options, recorded, digests, placement);
  const { base } = image;
  const { settings } = placement;
  if (recorded !== undefined) {
    // What was lost stays lost until it is given.
    const lost = isGiven(options) ? undefined : settingOf(recorded, lostSetting);
    return {
      ...recorded,
      spec,
      placement: { ...recorded.placement, settings: { ...settings, ...(lost === undefined ? {} : { [lostSetting]: lost }) } },
      members: growMembers(recorded.name, recorded.id, recorded.members, options.count ?? 0, 0),
    };
  }
  const id = randomUUID();
  return {
    version: 1,
    id,
    name: options.fleet,
    base,
    spec,
    placement: {
      engine: engineName,
      ...(placement.place === undefined ? {} : { place: placement.place }),
      settings,
      images: { [base.digest]: image.id },
    },
    createdAt: ports.clock.now().toISOString(),
    freshOverlayBytes: 0,
    members: growMembers(options.fleet, id, [], options.count ?? 0, 0),
  };
}

function isGiven({ seedFiles, spec }: SpawnOptions): boolean {
  return Object.values(seedFiles ?? {}).some((path) => path !== undefined) || spec?.seed !== undefined;
}

/** New servers, of further members or in place of those that are gone, would differ from the others. @throws STATE_DAMAGED */
export function assertNothingLost(record: NovaRecord, members: readonly NovaMember[], { count }: Pick<SpawnOptions, 'count'>): void {
  const isCreating = members.some(({ server }) => server === undefined || neverRan(server) || isDeleting(server));
  if (!isCreating || settingOf(record, lostSetting) === undefined) return;
  const again = `cowherd spawn ${record.name}${count === undefined ? '' : ` --count ${count}`}`;
  throw new CowherdError('STATE_DAMAGED', `The user-data of fleet ${record.name} was lost with its record`, {
    hint: `Give it again for the new servers: ${again} --user-data FILE, or --seed nocloud for the built-in one.`,
  });
}

function composeSpec(
  options: SpawnOptions,
  recorded: FleetRecord | undefined,
  sources: Partial<Record<SourceKind, string>>,
  { settings, memoryMiB, vcpus }: ComposedPlacement,
): DomainSpec {
  const { seed, sshKeys } = options.defaults ?? {};
  const fresh = { ...defaultDomainSpec, ...(seed === 'nocloud' ? { seed } : {}), ...(sshKeys === undefined ? {} : { sshKeys }) };
  const { userData: _userData, userDataRaw: _raw, ...inherited } = recorded?.spec ?? fresh;
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  const network = settings.network === 'none' ? 'none' : 'network=auto';
  const spec = withImpliedSeed({ ...inherited, ...given, ...sources, memoryMiB, vcpus, network, nics: 1 }, options);
  if (spec.seed === 'smbios') {
    throw new CowherdError('NOT_SUPPORTED', '--seed smbios is not possible on OpenStack: the cloud sets the SMBIOS data', {
      hint: 'Use --seed nocloud: the user-data is given to the cloud, and cloud-init reads it from its metadata service or config drive.',
    });
  }
  assertSpec(spec);
  return spec;
}
