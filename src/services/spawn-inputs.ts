import { randomUUID } from 'node:crypto';
import { type BaseImage, formatBaseRef, isBaseRef, verifySeal } from '../core/base.js';
import { CowherdError } from '../core/errors.js';
import { type FleetRecord, growMembers } from '../core/fleet.js';
import { memberMac } from '../core/identity.js';
import { formatIndexes } from '../core/selection.js';
import { type DomainSpec, defaultDomainSpec, type SourceKind, sourceKinds } from '../core/spec.js';
import type { Ports } from '../ports.js';
import { generalisationOf } from './bases.js';
import { verifiedBase } from './fleet-access.js';
import type { SpawnOptions } from './spawn.js';

/** From what was asked for to what the fleet is meant to be. */

export function verifyCount(fleet: string, recorded: FleetRecord | undefined, count: number | undefined): void {
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

export async function resolveBase(
  ports: Ports,
  options: SpawnOptions,
  recorded: FleetRecord | undefined,
): Promise<{ base: BaseImage; notes: string[] }> {
  const asked = options.base;
  if (asked === undefined) {
    if (recorded === undefined)
      throw new CowherdError('BAD_USAGE', `Which base image should fleet ${options.fleet} stand on?`, {
        hint: 'Say --base FILE or --base NAME.',
      });
    return { base: await verifiedBase(ports, recorded.base), notes: [] };
  }
  const { base, notes } = isBaseRef(asked) ? { base: await ports.bases.find(asked), notes: [] } : await importBase(ports, asked, options);
  if (recorded !== undefined && recorded.base.digest !== base.digest) {
    throw new CowherdError(
      'BAD_USAGE',
      `Fleet ${recorded.name} stands on ${formatBaseRef(recorded.base)}, and ${asked} is ${formatBaseRef(base)}`,
      {
        hint: `Leave out --base to keep the fleet's own, tear the fleet down first, or make another fleet.`,
      },
    );
  }
  // The same content under another name: the fleet keeps its own, or its domains and its record would disagree.
  if (recorded !== undefined) return { base: await verifiedBase(ports, recorded.base), notes };
  verifySeal(base, await ports.bases.seal(base));
  return { base, notes };
}

async function importBase(
  ports: Ports,
  path: string,
  { format, trustChain, signal, onProgress, dryRun }: SpawnOptions,
): Promise<{ base: BaseImage; notes: string[] }> {
  if (dryRun === true) onProgress?.({ kind: 'note', text: `importing ${path}: a dry run, too, needs the base image in the store` });
  const { base, how, warning } = await ports.bases.locked(
    () =>
      ports.bases.import({
        path,
        format,
        trustChain: trustChain === true,
        signal,
        onProgress: (progress) => onProgress?.({ kind: 'bytes', what: `importing ${path}`, ...progress }),
      }),
    signal,
  );
  const note =
    how === 'already there' ? `base ${formatBaseRef(base)} was in the store already` : `base ${formatBaseRef(base)} imported (${how})`;
  // Told once, when the image comes in: "cowherd base inspect" tells it again.
  const generalisation = how === 'already there' ? [] : await generalisationOf(ports, base);
  const told = generalisation.map(({ what, hint }) => `${formatBaseRef(base)}: ${what}. ${hint}`);
  return { base, notes: [note, ...(warning === undefined ? [] : [warning]), ...told] };
}

export async function composeRecord(
  ports: Ports,
  options: SpawnOptions,
  recorded: FleetRecord | undefined,
  base: BaseImage,
  sources: Partial<Record<SourceKind, string>>,
): Promise<FleetRecord> {
  const inherited: DomainSpec = { ...(recorded?.spec ?? defaultDomainSpec) };
  for (const kind of sourceKinds) delete inherited[kind];
  const given = Object.fromEntries(Object.entries(options.spec ?? {}).filter(([, value]) => value !== undefined));
  const spec = withImpliedSeed({ ...inherited, ...given, ...sources }, options);
  const count = options.count ?? 0;
  if (recorded !== undefined) {
    // An address of another network would lead nowhere.
    const sameNetwork = recorded.spec.network === spec.network;
    const members = recorded.members.map(({ address, ...member }) =>
      sameNetwork && address !== undefined ? { ...member, address } : member,
    );
    return { ...recorded, spec, members: growMembers(recorded.name, recorded.id, members, count) };
  }
  await verifyNoStrayOverlays(ports, options.fleet);
  const id = await unusedFleetId(ports, count);
  return {
    version: 1,
    id,
    name: options.fleet,
    base: { name: base.name, digest: base.digest },
    spec,
    createdAt: ports.clock.now().toISOString(),
    freshOverlayBytes: 0,
    members: growMembers(options.fleet, id, [], count),
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

/** A fleet id whose members' addresses no domain of this host has. */
async function unusedFleetId(ports: Ports, count: number): Promise<string> {
  const names = (await ports.hypervisor.listDomains()).map((domain) => domain.name);
  const documents = await ports.hypervisor.readXml(names);
  const taken = new Set(
    [...documents.values()].flatMap((xml) =>
      [...xml.matchAll(/<mac address=['"]([0-9a-fA-F:]{17})['"]/g)].map((match) => match[1]?.toLowerCase()),
    ),
  );
  for (let attempt = 0; attempt < 100; attempt++) {
    const id = randomUUID();
    let free = true;
    for (let index = 1; index <= count && free; index++) free = !taken.has(memberMac(id, index));
    if (free) return id;
  }
  throw new CowherdError('PREFLIGHT_FAILED', 'No range of MAC addresses is free on this host', { hint: 'Make the fleet smaller.' });
}

/** A fleet that is not recorded has no overlays: what lies there is another fleet's data, on who knows which base. */
async function verifyNoStrayOverlays(ports: Ports, fleet: string): Promise<void> {
  const strays = [...(await ports.fleets.overlaySizes(fleet)).keys()];
  if (strays.length === 0) return;
  throw new CowherdError('STATE_DAMAGED', `${strays.length} overlays lie in the directory of fleet ${fleet}, which is not recorded`, {
    details: strays.slice(0, 5).map((name) => ports.fleets.files(fleet, name).overlay),
    hint: `Rebuild its record (cowherd status ${fleet} --recover), move them away, or choose another name.`,
  });
}
