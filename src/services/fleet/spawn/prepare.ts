import { isDeepStrictEqual } from 'node:util';
import type { MemberDefinition } from '../../../core/domain/domain-xml.js';
import { AddressTaken } from '../../../core/domain/network.js';
import type { MemberDisk } from '../../../core/fleet/disks.js';
import { isOn } from '../../../core/fleet/observation.js';
import type { Operation, Unfinished } from '../../../core/fleet/operation.js';
import type { MarkedMember, Plan } from '../../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { FleetSecrets, Seed, SeedSources } from '../../../core/guest/seed.js';
import type { PlacedSeed, Ports } from '../../../ports/index.js';
import { writeSshFiles } from '../../guest/seeds.js';
import { stagePlanned } from '../../run/steps.js';
import type { WorkOptions } from '../access.js';
import { freshDisks, verifiedBases } from '../disks/fresh-disks.js';
import { assertPortsStillFree } from './addresses.js';
import type { TemplateSource } from './input/definitions.js';
import { type Reserving, releaseAddresses, reserveAddresses } from './reservations.js';

export interface Preparation {
  record: FleetRecord;
  operation: Operation;
  plan: Plan;
  definitions: ReadonlyMap<string, MemberDefinition>;
  /** The disks to create, by member name. */
  disks: ReadonlyMap<string, readonly MemberDisk[]>;
  /** The initial NVRAM, if this run provides one. */
  nvram: Buffer | undefined;
  template: TemplateSource;
  before: ReadonlyMap<string, MarkedMember>;
  seedSources: SeedSources;
  /** By member name; empty if the fleet has none. */
  seeds: ReadonlyMap<string, Seed>;
  secrets: FleetSecrets;
  /** The fleet before this run. */
  earlier: EarlierState;
  /** If an address was taken by another run, keep what was written for the next attempt. */
  isTriedAgain: boolean;
}

export interface EarlierState {
  record: FleetRecord | undefined;
  unfinished: Unfinished | undefined;
  secrets: FleetSecrets | undefined;
}

export async function earlierState({ fleets, seeds }: Pick<Ports, 'fleets' | 'seeds'>, fleet: string): Promise<EarlierState> {
  return { record: await fleets.read(fleet), unfinished: await fleets.unfinished(fleet), secrets: await seeds.readSecrets(fleet) };
}

export interface Prepared {
  /** Name of the member whose domain is already defined. */
  first: string | undefined;
  reserving: Reserving;
}

/** Writes the intent and prepares the members. The first domain is defined and validated here: a template that libvirt rejects fails before any member is created. Failures are undone.
 * @throws AddressTaken
 */
export async function prepareSpawn(
  ports: Ports,
  work: Preparation,
  options: Pick<WorkOptions, 'signal' | 'onProgress'>,
): Promise<Prepared> {
  const { operation, plan, definitions, disks, before, seeds, earlier } = work;
  const { fleets, hypervisor } = ports;
  const fleet = work.record.name;
  const first = plan.members.find((member) => member.steps.includes('define'))?.name;
  let isFirstOurs = false;
  let reserving: Reserving | undefined;
  try {
    // Before the intent, which refers to the sources.
    await writeSources(ports, work);
    // The intent is written under the lock on base images: from then on the base image counts as in use.
    const imageOf = await ports.bases.locked(async () => {
      const verified = await verifiedBases(ports, work.record);
      await assertPortsStillFree(ports, work.record);
      await fleets.beginOperation(fleet, operation);
      return verified;
    }, options);
    reserving = await reserveAddresses(ports, work.record, options.signal);
    const fresh = await freshDisks(ports, work.record, work.record.members, imageOf);
    const record = { ...work.record, freshOverlayBytes: fresh.bytesPerMember };
    await stagePlanned(ports, record, plan, { disks, fresh }, seeds);
    await writeSshFiles(ports, record, work.secrets, seeds, withoutSeedYet(work, await ports.seeds.observe(fleet)));
    await fleets.write(record);
    const xml = first === undefined ? undefined : definitions.get(first)?.xml;
    if (first !== undefined && xml !== undefined) {
      // Check again: if the domain was recreated meanwhile, undefining it would lose its NVRAM and TPM.
      isFirstOurs = before.get(first)?.domain === undefined && !(await hypervisor.readXml([first])).has(first);
      await hypervisor.define({ name: first, xml }, { validate: true });
    }
    // Nothing can be refused from here on: release reservations on the former network.
    for (const former of [earlier.record, earlier.unfinished?.operation.record])
      if (former !== undefined && former.spec.network !== record.spec.network) await releaseAddresses(ports, former, former.members);
    return { first, reserving };
  } catch (error) {
    if (work.isTriedAgain && error instanceof AddressTaken) throw error;
    await reserving?.stop();
    if (first !== undefined && isFirstOurs && !(await isTakenBack(hypervisor, first, work.record.id))) throw error;
    await takeBackSpawn(ports, work.record, earlier, (name) => before.get(name)?.domain !== undefined);
    throw error;
  }
}

/** Undoes the preparation. Failures are ignored, so that the original error is reported. */
export async function takeBackSpawn(
  ports: Pick<Ports, 'fleets' | 'seeds' | 'networks'>,
  record: FleetRecord,
  earlier: EarlierState,
  hasDomain: (member: string) => boolean,
): Promise<void> {
  // An operation that was unfinished before stays unfinished: its intent is still needed.
  if (earlier.unfinished !== undefined) return;
  const moved = earlier.record !== undefined && earlier.record.spec.network !== record.spec.network;
  const added = record.members.filter((member) => moved || !hasDomain(member.name));
  await releaseAddresses(ports, record, added).catch(() => undefined);
  await takeBack(ports, record.name, earlier).catch(() => undefined);
}

/** @returns false if the domain could not be removed: then the fleet stays, and resume continues from the intent */
async function isTakenBack(hypervisor: Ports['hypervisor'], name: string, fleetId: string): Promise<boolean> {
  const marks = await hypervisor.readMarks([name]).catch(() => undefined);
  if (marks?.get(name)?.fleetId !== fleetId) return true;
  return hypervisor.undefine(name).then(
    () => true,
    () => false,
  );
}

/** If this fails, for example on a full disk, the intent stays for resume. */
async function takeBack(
  { fleets, seeds }: Pick<Ports, 'fleets' | 'seeds'>,
  fleet: string,
  { record, secrets }: EarlierState,
): Promise<void> {
  if (record === undefined) return void (await fleets.removeFleet(fleet));
  // Write only what differs: the disk may be full.
  if (secrets !== undefined && !isDeepStrictEqual(secrets, await seeds.readSecrets(fleet))) await seeds.writeSecrets(fleet, secrets);
  if (!isDeepStrictEqual(record, await fleets.read(fleet))) await fleets.write(record);
  await fleets.endOperation(fleet);
}

/** Running members that get a seed at their next start: until then they use host keys that they generated. */
function withoutSeedYet({ before }: Preparation, placed: ReadonlyMap<string, PlacedSeed>): Set<string> {
  return new Set([...before.values()].filter(({ name, domain }) => isOn(domain) && !placed.has(name)).map(({ name }) => name));
}

/** Writes the fleet's templates and secrets. */
async function writeSources(
  ports: Pick<Ports, 'fleets' | 'seeds'>,
  { record, template, seedSources, seeds, secrets, nvram }: Preparation,
): Promise<void> {
  const { spec, name } = record;
  if (spec.template !== undefined) await ports.fleets.writeSource(name, 'template', spec.template, template.text);
  for (const kind of ['userData', 'userDataRaw', 'metaData', 'networkConfig'] as const) {
    const digest = spec[kind];
    const source = seedSources[kind === 'userDataRaw' ? 'userData' : kind];
    if (digest !== undefined && source !== undefined) await ports.fleets.writeSource(name, kind, digest, source.text);
  }
  if (spec.nvram !== undefined && nvram !== undefined) await ports.fleets.writeGoldenNvram(name, spec.nvram, nvram);
  if (seeds.size > 0) await ports.seeds.writeSecrets(name, secrets);
}
