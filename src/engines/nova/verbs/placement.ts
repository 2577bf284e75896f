import { CowherdError } from '../../../core/errors.js';
import { parseNetwork } from '../../../core/spec/flag-values.js';
import type { SpawnOptions } from '../../../services/fleet/spawn/input/options.js';
import type { NovaContext } from '../context.js';
import { parsePlacement } from '../core/placement.js';
import { listOf, lostSetting, type NovaRecord, settingOf } from './record.js';

/** Where the servers of a fleet run, with names of the cloud resolved to ids. */
export interface ComposedPlacement {
  /** Id of the project. */
  place: string | undefined;
  settings: NovaRecord['placement']['settings'];
  memoryMiB: number;
  vcpus: number;
  /** 0: the disk has the size of the image. */
  diskGiB: number;
}

/** @throws BAD_SPEC if something does not exist in the cloud, or if existing members have another setting */
export async function composePlacement(
  { cloud }: NovaContext,
  { placement, spec, fleet, signal }: SpawnOptions,
  recorded: NovaRecord | undefined,
): Promise<ComposedPlacement> {
  const input = parsePlacement(placement);
  const flavorName = input.flavor ?? (recorded && (settingOf(recorded, 'flavorId') ?? settingOf(recorded, 'flavor')));
  if (flavorName === undefined) throw await noFlavor(cloud, fleet);
  const flavor = await cloud.checks.flavor(flavorName, { signal });
  const key = input.key ?? (recorded && settingOf(recorded, 'key'));
  if (key !== undefined && !(await cloud.checks.hasKeyPair(key, { signal }))) {
    throw new CowherdError('BAD_SPEC', `You have no key pair ${key} in this cloud`, {
      hint: 'See yours: openstack keypair list. Or leave out --key, and give your public key with --ssh-key.',
    });
  }
  const az = input.az ?? (recorded && settingOf(recorded, 'az'));
  if (az !== undefined) await cloud.checks.zone(az, { signal });
  const network = spec?.network === undefined ? recorded && settingOf(recorded, 'network') : await networkOf(cloud, spec.network, signal);
  const securityGroups = input.securityGroups ?? (recorded && listOf(recorded, 'securityGroups'));
  const settings = {
    ...{ flavor: flavor.name, flavorId: flavor.id, network: network ?? 'auto' },
    ...(key === undefined ? {} : { key }),
    ...(az === undefined ? {} : { az }),
    ...(securityGroups === undefined ? {} : { securityGroups }),
  };
  if (recorded !== undefined) assertSame(recorded, settings);
  const place = await cloud.projectId(signal);
  return { place, settings, memoryMiB: flavor.ramMiB, vcpus: flavor.vcpus, diskGiB: flavor.diskGiB };
}

async function networkOf(cloud: NovaContext['cloud'], text: string, signal: AbortSignal | undefined): Promise<string> {
  const { kind, source } = parseNetwork(text);
  if (kind === 'none') return 'none';
  if (kind === 'network') return source === 'auto' ? 'auto' : (await cloud.checks.network(source, { signal })).id;
  throw new CowherdError('NOT_SUPPORTED', `--network ${text} is not possible on OpenStack: its networks have names`, {
    hint: 'Use network=NAME with a name or id from "openstack network list", network=auto, or none.',
  });
}

async function noFlavor(cloud: NovaContext['cloud'], fleet: string): Promise<CowherdError> {
  const names = (await cloud.checks.flavors()).map(({ name }) => name);
  return new CowherdError('BAD_USAGE', `No flavor given for fleet ${fleet}`, {
    hint:
      names.length === 0
        ? 'The cloud has no flavor. Ask its operator for one.'
        : `Add --flavor NAME. Flavors of this cloud: ${names.slice(0, 10).join(', ')}`,
  });
}

/** Existing servers keep what they were created with. */
function assertSame(recorded: NovaRecord, settings: ComposedPlacement['settings']): void {
  const { name, placement } = recorded;
  for (const setting of new Set([...Object.keys(placement.settings), ...Object.keys(settings)])) {
    const [before, now] = [placement.settings[setting], settings[setting]];
    if (setting === lostSetting || String(before) === String(now)) continue;
    // A setting that was too long for the metadata of servers cannot be recovered: it is given again.
    if (before === undefined && settingOf(recorded, lostSetting) !== undefined) continue;
    const had = before === undefined ? `no ${setting}` : `${setting} ${String(before)}`;
    throw new CowherdError('BAD_SPEC', `Members of fleet ${name} have ${had}, not ${String(now)}`, {
      hint: `All members of a fleet have the same ${setting}. Leave it out, or create another fleet.`,
    });
  }
}
