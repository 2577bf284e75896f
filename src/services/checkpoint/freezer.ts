import { CowherdError } from '../../core/errors.js';
import { memberDisks } from '../../core/fleet/disks.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { MarkedMember } from '../../core/fleet/member-plan.js';
import { isOn } from '../../core/fleet/observation.js';
import { baseOf, type FleetRecord } from '../../core/fleet/record.js';
import { tagPrefix } from '../../core/snapshot/checkpoint.js';
import type { Ports } from '../../ports/index.js';
import { diskPaths, dropStrays, memoryBytesOf } from './strays.js';
import { machineOf } from './validation.js';

const pingSeconds = 2;

/** Freezes members of one fleet under one tag, and gives what was frozen up. */
export class Freezer {
  readonly #host: Promise<{ libvirt: string; hypervisor: string }>;

  constructor(
    private readonly ports: Ports,
    private readonly record: FleetRecord,
    private readonly tag: string,
  ) {
    this.#host = ports.hypervisor.versions();
    // Asked for again by whoever needs it.
    this.#host.catch(() => undefined);
  }

  async freeze(member: MarkedMember, signal: AbortSignal | undefined): Promise<void> {
    const { ports, record, tag } = this;
    const { name } = member;
    const paths = diskPaths(ports, record, member);
    await ports.monitor.settle(name, memoryBytesOf(record));
    // Of a run that was killed between this and the record.
    if ((await this.#tags(paths)).has(tag)) await ports.monitor.drop(name, tag, paths);
    const agent = await ports.agent.command(name, { execute: 'guest-ping' }, pingSeconds).then(
      () => true,
      () => false,
    );
    const before = await ports.fleets.overlaySizes(record.name);
    try {
      await ports.monitor.save(name, tag, paths, memoryBytesOf(record));
      await this.#record(member, { agent, before, signal });
    } catch (error) {
      throw await this.#withoutRecord(error, member);
    }
    await dropStrays(ports, record, member);
  }

  /** Reads what was saved, and notes it. */
  async #record(
    member: MarkedMember,
    { agent, before, signal }: { agent: boolean; before: ReadonlyMap<string, number>; signal: AbortSignal | undefined },
  ): Promise<void> {
    const { ports, record, tag } = this;
    const { name, index } = member;
    const paths = diskPaths(ports, record, member);
    const after = await ports.fleets.overlaySizes(record.name);
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

  /** What was saved and is not noted is of no use. Of a run that was interrupted, "resume" sees to it. */
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
    // Before the snapshot: a record without one would be a broken checkpoint.
    await ports.checkpoints.forget(record.name, member.name);
    const isRunning = isOn(member.domain);
    // QEMU takes memory off the disk when it has saved it, and not when it has loaded it. Of a guest that is off, "compact" does.
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

/** QEMU goes on with what it was asked for when it answers again. */
function mayBeSaved(error: CowherdError, fleet: string): CowherdError {
  const { code, message, details, hint } = error;
  return new CowherdError(code, message, {
    details: [
      ...details,
      'an earlier checkpoint of it stays as it is',
      `when it answers again it may save the guest yet: the next checkpoint or warm reset drops that, and so does "cowherd verify ${fleet} --fix"`,
    ],
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

function unreadable(member: MemberIdentity['name'], tag: string): CowherdError {
  return new CowherdError('STORE_FAILED', `The checkpoint ${tag} of ${member} cannot be read back from its disks`, {
    hint: `Is the disk full, or has somebody else written to it? Snapshots called ${tagPrefix}… are cowherd's.`,
  });
}
