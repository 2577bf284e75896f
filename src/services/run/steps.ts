import type { MemberDefinition } from '../../core/domain/domain-xml.js';
import type { MemberDisk } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { Plan, StepName } from '../../core/fleet/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Seed } from '../../core/guest/seed.js';
import type { BaseImage } from '../../core/image/base.js';
import type { Ports } from '../../ports/index.js';
import type { FreshDisks } from '../fleet/reset/fresh-disks.js';
import { assertRoom } from '../preflight/disk-space.js';
import type { Performer } from './member-executor.js';

/** What each step does to the world. Every one may be run twice; overlays are staged before. */

export interface StepContext {
  fleet: string;
  /** Names of members whose domain is off: it may have saved memory. */
  off?: ReadonlySet<string>;
  /** What an overlay step puts in place, by member name. */
  disks?: ReadonlyMap<string, readonly MemberDisk[]>;
  /** Of members with UEFI: what their NVRAM begins as; undefined digest for the firmware's own. */
  nvram?: { digest: string | undefined } | undefined;
  /** Whether a fresh disk is that of a golden VM in the moment when it was frozen. */
  isOfClones?: boolean;
  /** Needed by plans with define steps. */
  definitions?: ReadonlyMap<string, MemberDefinition>;
  /** How large a grow step makes first disks. */
  rootBytes?: number | undefined;
  /** What a rebase step moves overlays to. */
  rebaseTo?: BaseImage;
  /** What has to be done to a member that is off before it starts. */
  beforeStart?: (member: MemberIdentity) => Promise<void>;
  /** Whether a guest that was paused stays so no longer; throws where it does. */
  assertGoesOn?: (member: MemberIdentity) => Promise<void>;
  /** What a shutdown waits for, and what it does when that does not come. */
  shutdown?: (member: MemberIdentity) => Promise<void>;
  /** Which files of disks an unlink step removes. */
  stemsOf?: (member: MemberIdentity) => string[];
  /** Steps of a verb of its own. */
  perform?: Partial<Record<StepName, (member: MemberIdentity) => Promise<void>>>;
  /** Whether done members are written to the operation's log. */
  journaled: boolean;
}

export function stepPerformer(
  ports: Pick<Ports, 'hypervisor' | 'fleets' | 'seeds' | 'images' | 'checkpoints'>,
  context: StepContext,
): Performer<MemberIdentity> {
  const { hypervisor, fleets, seeds, images, checkpoints } = ports;
  const { fleet } = context;
  let snapshotted: Promise<Set<string>> | undefined;
  const perform: Partial<Record<StepName, (member: MemberIdentity) => Promise<void>>> = {
    stop: ({ name }) => hypervisor.destroy(name),
    overlay: async ({ name }) => {
      // Saved memory belongs to the disk that goes: restored onto a fresh one it would corrupt it.
      const disks = needed(context.disks?.get(name), `fresh disk for ${name}`);
      // A further disk that is added leaves the guest what it is.
      const isFresh = disks.some(({ stem }) => stem === name);
      if (isFresh && context.off?.has(name)) await hypervisor.forgetSavedState(name);
      // What libvirt knows of snapshots in the disk that goes is of no use, and in the way of the next one.
      snapshotted ??= hypervisor.listSnapshotted();
      if (isFresh && (await snapshotted).has(name)) await hypervisor.forgetSnapshots(name);
      // Before the disks: where it cannot be given, they stay.
      if (isFresh && context.nvram !== undefined) await fleets.placeNvram(fleet, name, context.nvram.digest);
      // It goes with the overlay that holds it.
      if (isFresh) await checkpoints.forget(fleet, name);
      // Until it has become itself nobody may boot from it.
      if (isFresh && context.isOfClones === true) await fleets.markIdentityPending(fleet, name);
      for (const { stem } of disks) await fleets.placeOverlay(fleet, stem);
      // With its disk go the keys that it made for itself.
      if (isFresh) await seeds.forgetLearnedHost(fleet, name);
    },
    define: async ({ name }) => {
      const { xml } = needed(context.definitions?.get(name), `definition of ${name}`);
      await hypervisor.define({ name, xml });
    },
    // In place: until its last write the overlay is whole on the old base image, and after it on the new one.
    rebase: ({ name }) => images.rebase(fleets.files(fleet, name).overlay, needed(context.rebaseTo, 'base image to move to')),
    grow: async ({ name }) => {
      const bytes = needed(context.rootBytes, `size of the disk of ${name}`);
      // A checkpoint within the disk would make it small again.
      await checkpoints.forget(fleet, name);
      const { overlay } = fleets.files(fleet, name);
      if ((await hypervisor.stateOf(name)).state !== 'shutOff') await hypervisor.growDisk(name, overlay, bytes);
      else await images.grow(overlay, bytes);
    },
    seed: ({ name }) => seeds.place(fleet, name),
    resume: async (member) => {
      await hypervisor.resume(member.name);
      await context.assertGoesOn?.(member);
    },
    start: async (member) => {
      const { name } = member;
      await context.beforeStart?.(member);
      await fleets.prepareStart(fleet, name);
      await hypervisor.start(name);
    },
    shutdown: (member) => needed(context.shutdown, 'way to shut down')(member),
    undefine: ({ name }) => hypervisor.undefine(name),
    unlink: (member) => fleets.removeMemberFiles(fleet, member.name, needed(context.stemsOf, 'list of disks')(member)),
    ...context.perform,
  };
  return {
    step: (step, member) => needed(perform[step], `way to ${step}`)(member),
    finish: async ({ index }) => {
      if (context.journaled) await fleets.markDone(fleet, index);
    },
  };
}

function needed<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`no ${what} was prepared`);
  return value;
}

/**
 * Writes the seeds and the fresh disks that a plan will put in place.
 * @param disks by member name, which of its disks
 * @param seeds of the fleet's members, by name
 */
export async function stagePlanned(
  ports: Pick<Ports, 'fleets' | 'seeds' | 'machine'>,
  { name: fleet, spec }: FleetRecord,
  plan: Plan,
  { disks, fresh }: { disks: ReadonlyMap<string, readonly MemberDisk[]>; fresh: FreshDisks },
  seeds: ReadonlyMap<string, Seed>,
): Promise<void> {
  const seeding = new Set(plan.members.filter((member) => member.steps.includes('seed')).map((member) => member.name));
  // Before the overlays, whose sync covers both.
  await ports.seeds.stage(fleet, new Map([...seeds].filter(([name]) => seeding.has(name))));
  const planned = plan.members.filter((member) => member.steps.includes('overlay')).flatMap((member) => disks.get(member.name) ?? []);
  // By file, since most of them are the same.
  const kinds = new Map<Buffer, string[]>();
  for (const disk of planned) {
    const image = fresh.imageOf(disk);
    const stems = kinds.get(image);
    if (stems === undefined) kinds.set(image, [disk.stem]);
    else stems.push(disk.stem);
  }
  for (const [image, stems] of kinds) await ports.fleets.stageOverlays(fleet, stems, image);
  // What is written while members change: nobody is stopped for a run that cannot note what it did.
  const perMember = marginBytesPerMember + (spec.firmware === 'uefi' ? nvramBytes : 0);
  const bytes = marginBytes + plan.members.length * perMember;
  if (plan.members.length > 0) await assertRoom(ports, ports.fleets.root, bytes, 'What is kept of the members beside their disks');
}

/** The journal, the log of seeds, the record. */
const marginBytes = 64 * 1024;
/** A line in each of two logs, and a console log, whose file may need a block. */
const marginBytesPerMember = 4096;
/** Of OVMF, which is the largest in use. */
const nvramBytes = 540 * 1024;
