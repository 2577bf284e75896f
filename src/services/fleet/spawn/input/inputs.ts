import { randomUUID } from 'node:crypto';
import { CowherdError } from '../../../../core/errors.js';
import { memberMacs } from '../../../../core/fleet/identity.js';
import { type FleetRecord, growMembers } from '../../../../core/fleet/record.js';
import { formatIndexes } from '../../../../core/fleet/selection/selection.js';
import { type BaseImage, formatBaseRef } from '../../../../core/image/base.js';
import { type DomainSpec, defaultDomainSpec, domainSpecSchema, type SourceKind, sourceKinds } from '../../../../core/spec/spec.js';
import type { Ports } from '../../../../ports/index.js';
import { keptAccelerator } from '../../../host/accelerator.js';
import { paced } from '../../../run/pace.js';
import { sha256 } from './definitions.js';
import { imageSpec } from './image-defaults.js';
import type { SpawnOptions } from './options.js';
import { assertRootSize } from './root-size.js';

/** Computes the target record of a fleet from the options. */

export function assertCount(fleet: string, recorded: FleetRecord | undefined, count: number | undefined): void {
  if (recorded === undefined) {
    if (count === undefined) throw new CowherdError('BAD_USAGE', `No member count given for fleet ${fleet}`, { hint: 'Add --count N.' });
    return;
  }
  const beyond = recorded.members.map((member) => member.index).filter((index) => count !== undefined && index > count);
  if (beyond.length > 0) {
    throw new CowherdError('BAD_USAGE', `Fleet ${fleet} has ${recorded.members.length} members, and spawn does not remove members`, {
      hint: `To shrink it: cowherd teardown ${fleet} ${formatIndexes(beyond)}`,
    });
  }
}

export async function composeRecord(
  ports: Ports,
  options: SpawnOptions,
  recorded: FleetRecord | undefined,
  base: BaseImage,
  sources: Partial<Record<SourceKind | 'nvram' | 'warm', string>>,
): Promise<FleetRecord> {
  const inherited: DomainSpec = { ...(recorded?.spec ?? { ...defaultDomainSpec, ...imageSpec(options, base), ...defaultsFor(options) }) };
  for (const kind of sourceKinds) delete inherited[kind];
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  const spec = withImpliedSeed({ ...inherited, ...given, ...sources }, options);
  assertSpec(spec);
  assertRootSize(options.spec ?? {}, recorded, base);
  assertFirmware(spec);
  const count = options.count ?? 0;
  if (recorded !== undefined) {
    assertDisksKept(recorded, spec);
    // Addresses of another network are dropped.
    const sameNetwork = recorded.spec.network === spec.network;
    const members = recorded.members.map(({ address, ...member }) =>
      sameNetwork && address !== undefined ? { ...member, address } : member,
    );
    const { accelerator: _, ...kept } = recorded;
    const accelerator = options.redefine?.accelerator;
    return {
      ...kept,
      ...(accelerator === undefined ? keptAccelerator(recorded, options.spec) : { accelerator }),
      spec,
      members: growMembers(recorded.name, recorded.id, members, count, spec.nics),
    };
  }
  await assertNoStrayOverlays(ports, options.fleet);
  const id = await unusedFleetId(ports, count, spec.nics, options.signal);
  return {
    version: 1,
    id,
    name: options.fleet,
    base: { name: base.name, digest: base.digest },
    spec,
    createdAt: ports.clock.now().toISOString(),
    ...(options.bootsFor === undefined ? {} : { bootsFor: options.bootsFor }),
    ...(options.prepares === undefined ? {} : { prepares: options.prepares }),
    freshOverlayBytes: 0,
    members: growMembers(options.fleet, id, [], count, spec.nics),
  };
}

/** No defaults for fleets that are created from a domain: its XML has these values. */
function defaultsFor({ defaults = {}, fromDomain, fromRunning }: SpawnOptions): Partial<DomainSpec> {
  if (fromDomain !== undefined || fromRunning !== undefined) return {};
  const { network, seed, sshKeys } = defaults;
  return {
    ...(network === undefined ? {} : { network }),
    ...(seed === undefined ? {} : { seed }),
    ...(sshKeys === undefined ? {} : { sshKeys }),
  };
}

/** User-data, ssh keys and secrets imply a seed. @throws BAD_USAGE if another kind of seed was requested */
export function withImpliedSeed(spec: DomainSpec, { spec: given = {}, seedFiles = {}, secrets }: SpawnOptions): DomainSpec {
  const needing = [
    ...Object.entries(seedFiles).flatMap(([kind, path]) => (path === undefined ? [] : [kind])),
    ...(given.sshKeys === undefined || given.sshKeys.length === 0 ? [] : ['an ssh key']),
    ...(secrets === undefined ? [] : ['a secret']),
  ];
  const [first] = needing;
  if (first === undefined || spec.seed === 'nocloud') return spec;
  if (given.seed !== undefined) {
    throw new CowherdError('BAD_USAGE', `${first} requires a nocloud seed, but --seed is ${given.seed}`, {
      hint: 'Use --seed nocloud, or omit --seed.',
    });
  }
  return { ...spec, seed: 'nocloud' };
}

/** AAVMF has the largest, with few variables. */
export const maxNvramBytes = 64 * 1024 * 1024;

/** @throws FILE_NOT_FOUND, BAD_SPEC */
export async function readNvram(
  ports: Pick<Ports, 'readBytes'>,
  path: string | undefined,
): Promise<{ bytes: Buffer; digest: string } | undefined> {
  if (path === undefined) return undefined;
  const bytes = await ports.readBytes(path);
  // A UEFI firmware volume has its signature at byte 40.
  if (bytes.length > maxNvramBytes || bytes.subarray(40, 44).toString('latin1') !== '_FVH') {
    throw new CowherdError('BAD_SPEC', `${path} is not the NVRAM of a UEFI firmware`, {
      hint: 'The path of a domain\'s NVRAM is in <nvram> of "virsh dumpxml DOMAIN".',
    });
  }
  return { bytes, digest: sha256(bytes) };
}

/** Validates values from the API; flags were validated when they were parsed. @throws BAD_USAGE */
export function assertSpec(spec: DomainSpec): void {
  const { success, error } = domainSpecSchema.safeParse(spec);
  if (success) return;
  throw new CowherdError('BAD_USAGE', 'Invalid values for the members', {
    details: error.issues.slice(0, 20).map(({ path, message }) => `${path.join('.')}: ${message}`),
    hint: 'Correct these values. See the valid ones: cowherd spawn --help',
  });
}

function assertFirmware({ firmware, nvram }: DomainSpec): void {
  if (firmware === 'uefi' || nvram === undefined) return;
  throw new CowherdError('BAD_USAGE', 'An NVRAM requires UEFI, but the firmware is bios', { hint: 'Add --firmware uefi.' });
}

/** Refuses to drop or resize a disk, since its data would be lost. */
function assertDisksKept(recorded: FleetRecord, spec: DomainSpec): void {
  const wanted = new Map(spec.disks.map((disk) => [disk.name, disk]));
  for (const disk of recorded.spec.disks) {
    const now = wanted.get(disk.name);
    if (now !== undefined && now.bytes === disk.bytes && now.base?.digest === disk.base?.digest) continue;
    if (now?.base !== undefined && disk.base !== undefined) {
      throw new CowherdError('BAD_USAGE', `Disk ${disk.name} of that domain has changed since fleet ${recorded.name} was created from it`, {
        details: [`then ${formatBaseRef(disk.base)}`, `now ${formatBaseRef(now.base)}`],
        hint: 'Omit --from-domain to keep the disks of the fleet, or create another fleet from the domain.',
      });
    }
    throw new CowherdError(
      'BAD_USAGE',
      `Members of fleet ${recorded.name} have a disk ${disk.name}, which ${now === undefined ? 'is missing in --disk' : 'cannot be resized'}`,
      { hint: 'Disks can be added, but not removed or resized. Omit --disk to keep the disks, or create another fleet.' },
    );
  }
}

/** A fleet id whose MAC addresses are not used by any domain of this host. */
async function unusedFleetId(ports: Ports, count: number, nics: number, signal?: AbortSignal): Promise<string> {
  const uuids = (await ports.hypervisor.listDomains()).map((domain) => domain.uuid);
  const documents = await ports.hypervisor.readXml(uuids);
  const taken = new Set(
    [...documents.values()].flatMap((xml) =>
      [...xml.matchAll(/<mac address=['"]([0-9a-fA-F:]{17})['"]/g)].map((match) => (match[1] ?? '').toLowerCase()),
    ),
  );
  for (let attempt = 0; attempt < 100; attempt++) {
    const id = randomUUID();
    if (await areMacsFree(id, count, nics, taken, signal)) return id;
  }
  throw new CowherdError('PREFLIGHT_FAILED', 'No free range of MAC addresses on this host', { hint: 'Use fewer members.' });
}

/** Whether the addresses are distinct and unused. */
async function areMacsFree(id: string, count: number, nics: number, taken: ReadonlySet<string>, signal?: AbortSignal): Promise<boolean> {
  const own = new Set<string>();
  const pace = paced(signal);
  for (let nic = 0; nic < nics; nic++) {
    const macOf = memberMacs(id, nic);
    for (let index = 1; index <= count; index++) {
      await pace();
      const mac = macOf(index);
      if (own.has(mac) || taken.has(mac)) return false;
      own.add(mac);
    }
  }
  return true;
}

/** A new fleet has no overlays: existing ones are the data of another fleet. */
async function assertNoStrayOverlays(ports: Ports, fleet: string): Promise<void> {
  const strays = [...(await ports.overlays.sizes(fleet)).keys()];
  if (strays.length === 0) return;
  throw new CowherdError('STATE_DAMAGED', `The directory of fleet ${fleet} contains ${strays.length} overlays but no record`, {
    details: strays.slice(0, 5).map((name) => ports.fleets.files(fleet, name).overlay),
    hint: `Rebuild its record (cowherd status ${fleet} --recover), move them away, or choose another name.`,
  });
}
