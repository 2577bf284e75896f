import { CowherdError } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn } from '../../core/fleet/observation.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import { baseOf, type FleetRecord } from '../../core/fleet/record.js';
import { tagPrefix } from '../../core/snapshot/checkpoint.js';
import type { Ports } from '../../ports/index.js';
import { diskPaths, dropStrays, memoryBytesOf } from './strays.js';
import { machineOf } from './validation.js';

const pingSeconds = 2;

/** Takes and removes the checkpoints of one fleet's members under one tag. */
export class Freezer {
  readonly #host: Promise<{ libvirt: string; hypervisor: string }>;

  constructor(
    private readonly ports: Ports,
    private readonly record: FleetRecord,
    private readonly tag: string,
  ) {
    this.#host = ports.hypervisor.versions();
    // A failure is reported where the versions are needed.
    this.#host.catch(() => undefined);
  }

  async freeze(member: MarkedMember, signal: AbortSignal | undefined): Promise<void> {
    const { ports, record, tag } = this;
    const { name } = member;
    const paths = diskPaths(ports, record, member);
    await ports.monitor.settle(name, memoryBytesOf(record));
    // Left by a run that was killed before it wrote the record.
    if ((await this.#tags(paths)).has(tag)) await ports.monitor.drop(name, tag, paths);
    const agent = await ports.agent.command(name, { execute: 'guest-ping' }, pingSeconds).then(
      () => true,
      () => false,
    );
    const before = await ports.overlays.sizes(record.name);
    try {
      await ports.monitor.save(name, tag, paths, memoryBytesOf(record));
      await this.#record(member, { agent, before, signal });
    } catch (error) {
      throw await this.#withoutRecord(error, member);
    }
    await dropStrays(ports, record, member);
  }

  /** Reads the saved snapshot back and writes the record. */
  async #record(
    member: MarkedMember,
    { agent, before, signal }: { agent: boolean; before: ReadonlyMap<string, number>; signal: AbortSignal | undefined },
  ): Promise<void> {
    const { ports, record, tag } = this;
    const { name, index } = member;
    const paths = diskPaths(ports, record, member);
    const after = await ports.overlays.sizes(record.name);
    const digests: Record<string, string> = {};
    let stateBytes = 0;
    let allocatedBytes = 0;
    for (const [position, { stem }] of memberDisks(record, member).entries()) {
      const snapshot = await ports.checkpoints.held(paths[position] ?? '', tag, signal);
      if (snapshot === undefined) throw unreadable(name, tag);
      digests[stem] = snapshot.digest;
      stateBytes += snapshot.stateBytes;
      allocatedBytes += Math.max(0, (after.get(stem) ?? 0) - (before.get(stem) ?? 0));
    }
    const versions = { qemu: await ports.monitor.version(name), ...(await this.#host) };
    await ports.checkpoints.write(record.name, name, {
      version: 1,
      fleetId: record.id,
      index,
      tag,
      takenAt: ports.clock.now().toISOString(),
      base: { name: baseOf(record, member).name, digest: baseOf(record, member).digest },
      ...(await machineOf(ports, name, true)),
      versions,
      agent,
      stateBytes,
      allocatedBytes,
      digests,
    });
  }

  /** Drops a snapshot without a record. After an interruption, "resume" does that. */
  async #withoutRecord(error: unknown, member: MarkedMember): Promise<unknown> {
    const { ports, record, tag } = this;
    if (!(error instanceof CowherdError) || error.code === 'INTERRUPTED') return error;
    if (error.code === 'TOOL_TIMEOUT') return mayBeSaved(error, record.name);
    await ports.monitor.drop(member.name, tag, diskPaths(ports, record, member)).catch(() => undefined);
    return error;
  }

  async forget(member: MarkedMember): Promise<void> {
    const { ports, record } = this;
    const paths = diskPaths(ports, record, member);
    // Remove the record first: a record without its snapshot is a broken checkpoint.
    await ports.checkpoints.forget(record.name, member.name);
    const isRunning = isOn(member.domain);
    // QEMU clears the VM state from the disk after saving it, but not after loading it. For a stopped guest, "compact" frees it.
    const [first = ''] = paths;
    if (isRunning) await ports.monitor.settle(member.name, memoryBytesOf(record));
    if (isRunning && (await ports.checkpoints.hasLooseState(first)))
      await ports.monitor.save(member.name, this.tag, paths, memoryBytesOf(record));
    for (const tag of await this.#tags(paths)) {
      if (isRunning) await ports.monitor.drop(member.name, tag, paths);
      else for (const path of paths) await ports.images.dropSnapshot(path, tag);
    }
  }

  async #tags(paths: readonly string[]): Promise<Set<string>> {
    const tags = new Set<string>();
    for (const path of paths) for (const tag of await this.ports.checkpoints.tags(path)) tags.add(tag);
    return tags;
  }
}

/** QEMU completes a pending request when it responds again. */
function mayBeSaved(error: CowherdError, fleet: string): CowherdError {
  const { code, message, details, hint } = error;
  return new CowherdError(code, message, {
    details: [
      ...details,
      'an earlier checkpoint is unchanged',
      `QEMU may still save the guest when it responds again: the next checkpoint or warm reset removes that snapshot, and so does "cowherd verify ${fleet} --fix"`,
    ],
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

function unreadable(member: MemberIdentity['name'], tag: string): CowherdError {
  return new CowherdError('STORE_FAILED', `Checkpoint ${tag} of ${member} cannot be read back from its disks`, {
    hint: `Is the disk full, or did another program change it? Snapshots named ${tagPrefix}… belong to cowherd.`,
  });
}
