import { randomUUID } from 'node:crypto';
import { CowherdError } from '../../../core/errors.js';
import { memberMacs } from '../../../core/fleet/identity.js';
import { type FleetRecord, growMembers } from '../../../core/fleet/record.js';
import { formatIndexes } from '../../../core/fleet/selection.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { type DomainSpec, defaultDomainSpec, domainSpecSchema, type SourceKind, sourceKinds } from '../../../core/spec/spec.js';
import type { Ports } from '../../../ports/index.js';
import { keptAccelerator } from '../../host/accelerator.js';
import { paced } from '../../run/pace.js';
import { sha256 } from './definitions.js';
import { assertRootSize } from './root-size.js';
import type { SpawnOptions } from './spawn.js';

/** From what was asked for to what the fleet is meant to be. */

export function assertCount(fleet: string, recorded: FleetRecord | undefined, count: number | undefined): void {
  if (recorded === undefined) {
    if (count === undefined)
      throw new CowherdError('BAD_USAGE', `How many members should fleet ${fleet} have?`, { hint: 'Say --count N.' });
    return;
  }
  const beyond = recorded.members.map((member) => member.index).filter((index) => count !== undefined && index > count);
  if (beyond.length > 0) {
    throw new CowherdError('BAD_USAGE', `Fleet ${fleet} has ${recorded.members.length} members; spawn does not remove any`, {
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
  const inherited: DomainSpec = { ...(recorded?.spec ?? { ...defaultDomainSpec, ...defaultsFor(options) }) };
  for (const kind of sourceKinds) delete inherited[kind];
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  const spec = withImpliedSeed({ ...inherited, ...given, ...sources }, options);
  assertSpec(spec);
  assertRootSize(options.spec ?? {}, recorded, base);
  assertFirmware(spec);
  const count = options.count ?? 0;
  if (recorded !== undefined) {
    assertDisksKept(recorded, spec);
    // An address of another network would lead nowhere.
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
    freshOverlayBytes: 0,
    members: growMembers(options.fleet, id, [], count, spec.nics),
  };
}

/** A domain that a fleet is made of says these itself. */
function defaultsFor({ defaults = {}, fromDomain, fromRunning }: SpawnOptions): Partial<DomainSpec> {
  if (fromDomain !== undefined || fromRunning !== undefined) return {};
  const { network, seed, sshKeys } = defaults;
  return {
    ...(network === undefined ? {} : { network }),
    ...(seed === undefined ? {} : { seed }),
    ...(sshKeys === undefined ? {} : { sshKeys }),
  };
}

/** Whoever gives a user-data, a key or a secret means a seed. @throws BAD_USAGE where another way was asked for in the same breath */
function withImpliedSeed(spec: DomainSpec, { spec: given = {}, seedFiles = {}, secrets }: SpawnOptions): DomainSpec {
  const needing = [
    ...Object.entries(seedFiles).flatMap(([kind, path]) => (path === undefined ? [] : [kind])),
    ...(given.sshKeys === undefined || given.sshKeys.length === 0 ? [] : ['an ssh key']),
    ...(secrets === undefined ? [] : ['a secret']),
  ];
  const [first] = needing;
  if (first === undefined || spec.seed === 'nocloud') return spec;
  if (given.seed !== undefined) {
    throw new CowherdError('BAD_USAGE', `${first} reaches the guests by a seed, and seed ${given.seed} was asked for`, {
      hint: 'Say --seed nocloud, or leave it out.',
    });
  }
  return { ...spec, seed: 'nocloud' };
}

const maxNvramBytes = 64 * 1024 * 1024;

/** @throws FILE_NOT_FOUND, BAD_SPEC */
export async function readNvram(
  ports: Pick<Ports, 'readBytes'>,
  path: string | undefined,
): Promise<{ bytes: Buffer; digest: string } | undefined> {
  if (path === undefined) return undefined;
  const bytes = await ports.readBytes(path);
  // A UEFI firmware volume has its signature at byte 40.
  if (bytes.length > maxNvramBytes || bytes.subarray(40, 44).toString('latin1') !== '_FVH') {
    throw new CowherdError('BAD_SPEC', `${path} is no NVRAM of a UEFI firmware`, {
      hint: 'libvirt keeps the one of a domain where <nvram> in "virsh dumpxml DOMAIN" says.',
    });
  }
  return { bytes, digest: sha256(bytes) };
}

/** The flags were checked when they were read, which what comes by the library was not. @throws BAD_USAGE */
function assertSpec(spec: DomainSpec): void {
  const { success, error } = domainSpecSchema.safeParse(spec);
  if (success) return;
  throw new CowherdError('BAD_USAGE', 'The members cannot be made as they are described', {
    details: error.issues.slice(0, 20).map(({ path, message }) => `${path.join('.')}: ${message}`),
    hint: 'Correct these values. "cowherd spawn --help" says what each can be.',
  });
}

function assertFirmware({ firmware, nvram }: DomainSpec): void {
  if (firmware === 'uefi' || nvram === undefined) return;
  throw new CowherdError('BAD_USAGE', 'An NVRAM belongs to UEFI, and the firmware is bios', { hint: 'Say --firmware uefi.' });
}

/** A disk that is left out or has another size would be lost, with what the guests keep on it. */
function assertDisksKept(recorded: FleetRecord, spec: DomainSpec): void {
  const wanted = new Map(spec.disks.map((disk) => [disk.name, disk]));
  for (const disk of recorded.spec.disks) {
    const now = wanted.get(disk.name);
    if (now !== undefined && now.bytes === disk.bytes && now.base?.digest === disk.base?.digest) continue;
    if (now?.base !== undefined && disk.base !== undefined) {
      throw new CowherdError('BAD_USAGE', `Disk ${disk.name} of that domain is not what fleet ${recorded.name} was made of any more`, {
        details: [`then ${formatBaseRef(disk.base)}`, `now ${formatBaseRef(now.base)}`],
        hint: 'Leave out --from-domain to keep what the fleet has, or make another fleet of the domain.',
      });
    }
    throw new CowherdError(
      'BAD_USAGE',
      `Members of fleet ${recorded.name} have a disk ${disk.name}, which ${now === undefined ? 'is not asked for any more' : 'would have another size'}`,
      { hint: 'Disks can be added, and neither removed nor resized: leave --disk out to keep what is there, or make another fleet.' },
    );
  }
}

/** A fleet id whose members' addresses no domain of this host has. */
async function unusedFleetId(ports: Ports, count: number, nics: number, signal?: AbortSignal): Promise<string> {
  const names = (await ports.hypervisor.listDomains()).map((domain) => domain.name);
  const documents = await ports.hypervisor.readXml(names);
  const taken = new Set(
    [...documents.values()].flatMap((xml) =>
      [...xml.matchAll(/<mac address=['"]([0-9a-fA-F:]{17})['"]/g)].map((match) => (match[1] ?? '').toLowerCase()),
    ),
  );
  for (let attempt = 0; attempt < 100; attempt++) {
    const id = randomUUID();
    if (await areMacsFree(id, count, nics, taken, signal)) return id;
  }
  throw new CowherdError('PREFLIGHT_FAILED', 'No range of MAC addresses is free on this host', { hint: 'Make the fleet smaller.' });
}

/** Whether no two of the addresses are the same, and none is taken. */
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

/** A fleet that is not recorded has no overlays: what lies there is another fleet's data, on who knows which base. */
async function assertNoStrayOverlays(ports: Ports, fleet: string): Promise<void> {
  const strays = [...(await ports.fleets.overlaySizes(fleet)).keys()];
  if (strays.length === 0) return;
  throw new CowherdError('STATE_DAMAGED', `${strays.length} overlays lie in the directory of fleet ${fleet}, which is not recorded`, {
    details: strays.slice(0, 5).map((name) => ports.fleets.files(fleet, name).overlay),
    hint: `Rebuild its record (cowherd status ${fleet} --recover), move them away, or choose another name.`,
  });
}
