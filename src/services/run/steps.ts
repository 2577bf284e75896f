import type { MemberDefinition } from '../../core/domain/domain-xml.js';
import { reportOf } from '../../core/errors.js';
import type { MemberDisk } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { Plan, StepName } from '../../core/fleet/plan/member-plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import type { Seed } from '../../core/guest/seed.js';
import type { BaseImage } from '../../core/image/base.js';
import type { Ports } from '../../ports/index.js';
import type { FreshDisks } from '../fleet/disks/fresh-disks.js';
import { assertRoom } from '../preflight/disk-space.js';
import type { Performer } from './member-executor.js';

/** Implements each step. All steps are idempotent; overlays are staged before. */

export interface StepContext {
  fleet: string;
  /** Names of stopped members, whose domain may have saved memory. */
  off?: ReadonlySet<string>;
  /** Disks that an overlay step places, by member name. */
  disks?: ReadonlyMap<string, readonly MemberDisk[]>;
  /** Initial NVRAM of members with UEFI; digest undefined for the firmware's default. */
  nvram?: { digest: string | undefined } | undefined;
  /** Whether a fresh disk is a copy of a frozen source VM. */
  isOfClones?: boolean;
  /** Required by plans with define steps. */
  definitions?: ReadonlyMap<string, MemberDefinition>;
  /** Size of root disks after a grow step. */
  rootBytes?: number | undefined;
  /** Target base image of a rebase step. */
  rebaseTo?: BaseImage;
  /** Runs before a stopped member starts. */
  beforeStart?: (member: MemberIdentity) => Promise<void>;
  /** Throws if a resumed guest is paused again. */
  assertStaysRunning?: (member: MemberIdentity) => Promise<void>;
  /** Shuts a member down and waits for it. */
  shutdown?: (member: MemberIdentity) => Promise<void>;
  /** Disk files that an unlink step removes. */
  stemsOf?: (member: MemberIdentity) => string[];
  /** Steps that are specific to a verb. */
  perform?: Partial<Record<StepName, (member: MemberIdentity) => Promise<void>>>;
  /** Whether to write finished members to the operation's log. */
  journaled: boolean;
}

type StepPorts = Pick<Ports, 'hypervisor' | 'fleets' | 'overlays' | 'seeds' | 'images' | 'checkpoints'>;

export function stepPerformer(ports: StepPorts, context: StepContext): Performer<MemberIdentity> {
  const { hypervisor, fleets, images, seeds, checkpoints } = ports;
  const { fleet } = context;
  let snapshotted: Promise<Set<string>> | undefined;
  const perform: Partial<Record<StepName, (member: MemberIdentity) => Promise<void>>> = {
    stop: ({ name }) => hypervisor.destroy(name),
    overlay: ({ name }) => replaceDisks(ports, context, name, () => (snapshotted ??= hypervisor.listSnapshotted())),
    define: async ({ name }) => {
      const { xml } = needed(context.definitions?.get(name), `definition of ${name}`);
      await hypervisor.define({ name, xml });
    },
    // In place: the overlay stays valid on the old base image until the last write, which switches it to the new one.
    rebase: ({ name }) => images.rebase(fleets.files(fleet, name).overlay, needed(context.rebaseTo, 'base image to move to')),
    grow: async ({ name }) => {
      const bytes = needed(context.rootBytes, `size of the disk of ${name}`);
      // Restoring an older checkpoint would shrink the disk again.
      await checkpoints.forget(fleet, name);
      const { overlay } = fleets.files(fleet, name);
      if ((await hypervisor.stateOf(name)).state !== 'shutOff') await hypervisor.growDisk(name, overlay, bytes);
      else await images.grow(overlay, bytes);
    },
    seed: ({ name }) => seeds.place(fleet, name),
    resume: async (member) => {
      await hypervisor.resume(member.name);
      await context.assertStaysRunning?.(member);
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
    failed: async ({ index }, error) => {
      // Only for display: another error must not hide the first one.
      if (context.journaled) await fleets.markFailed(fleet, index, reportOf(error).code).catch(() => undefined);
    },
  };
}

/** Gives a member the fresh disks that were staged for it, and removes what belongs to the old ones. */
async function replaceDisks(
  { hypervisor, fleets, overlays, seeds, checkpoints }: StepPorts,
  context: StepContext,
  name: string,
  snapshotted: () => Promise<Set<string>>,
): Promise<void> {
  const { fleet } = context;
  const disks = needed(context.disks?.get(name), `fresh disk for ${name}`);
  // Adding a further disk does not reset the guest.
  const isReset = disks.some(({ stem }) => stem === name);
  if (isReset) {
    // Saved memory belongs to the old disk: restored with a fresh one, it would corrupt it.
    if (context.off?.has(name)) await hypervisor.forgetSavedState(name);
    // libvirt's records of snapshots in the old disk are obsolete and would block new ones.
    if ((await snapshotted()).has(name)) await hypervisor.forgetSnapshots(name);
    // Place the NVRAM first: if that fails, the disks stay.
    if (context.nvram !== undefined) await fleets.placeNvram(fleet, name, context.nvram.digest);
    // The checkpoint is in the overlay that is replaced.
    await checkpoints.forget(fleet, name);
    // The guest must not boot until it has its own identity.
    if (context.isOfClones === true) await fleets.markIdentityPending(fleet, name);
  }
  for (const { stem } of disks) await overlays.place(fleet, stem);
  // The guest's own host keys are lost with the old disk.
  if (isReset) await seeds.forgetLearnedHost(fleet, name);
}

function needed<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`no ${what} was prepared`);
  return value;
}

/** Writes the seeds and fresh disks that a plan will place.
 * @param disks the disks to create, by member name
 * @param seeds by member name
 */
export async function stagePlanned(
  ports: Pick<Ports, 'overlays' | 'fleets' | 'seeds' | 'machine'>,
  { name: fleet, spec }: FleetRecord,
  plan: Plan,
  { disks, fresh }: { disks: ReadonlyMap<string, readonly MemberDisk[]>; fresh: FreshDisks },
  seeds: ReadonlyMap<string, Seed>,
): Promise<void> {
  const seeding = new Set(plan.members.filter((member) => member.steps.includes('seed')).map((member) => member.name));
  // Stage the seeds first: the sync of the overlays covers both.
  await ports.seeds.stage(fleet, new Map([...seeds].filter(([name]) => seeding.has(name))));
  const planned = plan.members.filter((member) => member.steps.includes('overlay')).flatMap((member) => disks.get(member.name) ?? []);
  // Group by content, since most disks are identical.
  const kinds = new Map<Buffer, string[]>();
  for (const disk of planned) {
    const image = fresh.imageOf(disk);
    const stems = kinds.get(image);
    if (stems === undefined) kinds.set(image, [disk.stem]);
    else stems.push(disk.stem);
  }
  for (const [image, stems] of kinds) await ports.overlays.stage(fleet, stems, image);
  // Check the space for journal, logs and NVRAM before any member is stopped.
  const perMember = marginBytesPerMember + (spec.firmware === 'uefi' ? nvramBytes : 0);
  const bytes = marginBytes + plan.members.length * perMember;
  if (plan.members.length > 0) await assertRoom(ports, ports.fleets.root, bytes, 'Writing logs and state of the members');
}

/** Journal, log of seeds and record. */
const marginBytes = 64 * 1024;
/** A line in each of two logs, and a block for the console log. */
const marginBytesPerMember = 4096;
/** Size of OVMF's NVRAM, the largest in use. */
const nvramBytes = 540 * 1024;
