import { CowherdError } from '../../core/errors.js';
import type { ObservedMember } from '../../core/fleet/observation.js';
import { observeMembers } from '../../core/fleet/observation.js';
import type { Unfinished } from '../../core/fleet/operation.js';
import type { MarkedMember } from '../../core/fleet/plan/member-plan.js';
import type { BaseRef, FleetRecord } from '../../core/fleet/record.js';
import { assertSeal, type BaseImage, type BaseLayer, formatBaseRef, sealDifferences } from '../../core/image/base.js';
import { layersOf } from '../../core/image/base-chain.js';
import { assertWithin, limits } from '../../core/limits.js';
import { describeHolder } from '../../core/lock.js';
import { assertName } from '../../core/names.js';
import type { ProgressListener } from '../../core/progress.js';
import type { Ports } from '../../ports/index.js';

/** Options of every long-running verb. */
export interface WorkOptions {
  /** Aborted by Ctrl-C: start nothing new, finish running steps, report. */
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
  concurrency?: number | undefined;
  bootConcurrency?: number | undefined;
  /** Called when only the wait for the guests is left. */
  onWaiting?: (() => void) | undefined;
}

export const defaultConcurrency = 16;
export const defaultBootConcurrency = 8;

/** The only check for values that are passed through the API. @throws BAD_USAGE */
export function assertWork({ concurrency, bootConcurrency, timeoutMs }: WorkOptions & { timeoutMs?: number | undefined }): void {
  assertWithin({
    concurrency: [concurrency, limits.concurrency],
    bootConcurrency: [bootConcurrency, limits.concurrency],
    timeoutMs: [timeoutMs, limits.timeoutMs],
  });
}

/** What finding a fleet needs. Engines without clones have no freezes. */
export type FleetReads = Pick<Ports, 'fleets'> & { memory: Pick<Ports['memory'], 'readFreeze'> };

/** @throws FLEET_NOT_FOUND, STATE_DAMAGED */
export async function loadFleet(ports: FleetReads, fleet: string): Promise<FleetRecord> {
  assertName('fleet', fleet);
  const record = await ports.fleets.read(fleet);
  if (record !== undefined) return record;
  const known = await ports.fleets.list();
  if (known.includes(fleet)) {
    const unfinished = await ports.fleets.unfinished(fleet);
    const holder = await ports.fleets.holder(fleet);
    // A command that has taken the lock itself would wait for itself.
    if (holder !== undefined && holder.isOwn !== true) {
      throw new CowherdError('FLEET_NOT_FOUND', `Fleet ${fleet} is still being created: it is locked by ${describeHolder(holder)}`, {
        hint: 'Wait until that is done.',
      });
    }
    const freeze = await ports.memory.readFreeze(fleet);
    if (freeze !== undefined) {
      throw new CowherdError('FLEET_NOT_FOUND', `Fleet ${fleet} does not exist yet: its spawn from ${freeze.domain} was interrupted`, {
        details: [`it started at ${freeze.startedAt}`],
        hint: `Finish it: cowherd resume ${fleet}. Or undo it: cowherd teardown ${fleet}`,
      });
    }
    throw new CowherdError('FLEET_NOT_FOUND', `Fleet ${fleet} has a directory but no fleet.json`, {
      details: [`in ${ports.fleets.root}`],
      hint:
        unfinished?.operation.verb === 'spawn' || unfinished?.operation.verb === 'teardown'
          ? `Its ${unfinished.operation.verb} was interrupted: cowherd resume ${fleet}`
          : `Rebuild it: cowherd status ${fleet} --recover${unfinished === undefined ? '' : `. Then: cowherd resume ${fleet}`}`,
    });
  }
  throw new CowherdError('FLEET_NOT_FOUND', `Fleet ${fleet} not found in ${ports.fleets.root}`, {
    hint:
      known.length === 0
        ? `Create it: cowherd spawn ${fleet} --base golden.qcow2 --count 10. If its state was lost: cowherd status ${fleet} --recover`
        : `Existing fleets: ${known.slice(0, 10).join(', ')}. If its state was lost: cowherd status ${fleet} --recover`,
  });
}

/** The record of a fleet, or that of the spawn that was interrupted before it wrote one; undefined if there is none. */
export async function knownRecord({ fleets }: Pick<Ports, 'fleets'>, fleet: string): Promise<FleetRecord | undefined> {
  return (await fleets.read(fleet)) ?? (await fleets.unfinished(fleet))?.operation.record;
}

/** Runs work while no other run of cowherd changes this fleet. @throws LOCKED */
export async function withFleetLock<T>(ports: Pick<Ports, 'fleets'>, fleet: string, work: () => Promise<T>): Promise<T> {
  assertName('fleet', fleet);
  const lock = await ports.fleets.lock(fleet);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

/** @throws UNFINISHED_OPERATION if an operation is unfinished and may not be superseded */
export async function assertNothingUnfinished(
  ports: Pick<Ports, 'fleets'>,
  fleet: string,
  supersedes: (unfinished: Unfinished) => boolean,
): Promise<void> {
  const unfinished = await ports.fleets.unfinished(fleet);
  if (unfinished === undefined || supersedes(unfinished)) return;
  const { verb, startedAt, targets } = unfinished.operation;
  throw new CowherdError(
    'UNFINISHED_OPERATION',
    `A ${verb} of fleet ${fleet} was interrupted: ${unfinished.done.size} of ${targets.length} members are done`,
    {
      details: [`it started at ${startedAt}`],
      hint: `Finish it first: cowherd resume ${fleet}`,
    },
  );
}

/** Reads the current state from libvirt and the disk; nothing is cached. */
export async function observeFleet(
  ports: Pick<Ports, 'hypervisor' | 'fleets' | 'overlays'>,
  record: FleetRecord,
): Promise<ObservedMember[]> {
  const [domains, sizes, pending] = await Promise.all([
    ports.hypervisor.listDomains(),
    ports.overlays.sizes(record.name),
    record.spec.warm === undefined ? undefined : ports.fleets.listIdentityPending(record.name),
  ]);
  return observeMembers(record, domains, sizes, pending);
}

/** As {@link observeFleet}, with the mark in each domain's metadata: for verbs that change something. */
export async function observeWithMarks(
  ports: Pick<Ports, 'hypervisor' | 'fleets' | 'overlays'>,
  record: FleetRecord,
): Promise<MarkedMember[]> {
  const members = await observeFleet(ports, record);
  const failed = new Map<string, CowherdError>();
  const names = members.filter((member) => member.domain !== undefined).map((member) => member.name);
  const marks = await ports.hypervisor.readMarks(names, failed);
  return members.map((member) => ({ ...member, mark: marks.get(member.name), unread: failed.get(member.name) }));
}

/** The base image of a record, with the seals of all its layers compared. @throws BASE_CHANGED if one is missing or differs */
export async function verifiedBase(ports: Pick<Ports, 'bases'>, ref: BaseRef): Promise<BaseImage> {
  const base = await ports.bases.get(ref);
  if (base === undefined) {
    throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(ref)} is no longer in the store`, {
      hint: `Import the file with sha256 ${ref.digest} again: cowherd base add FILE --name ${ref.name}`,
    });
  }
  await assertSeals(ports, base);
  return base;
}

/** @throws BASE_CHANGED, naming the layer */
export async function assertSeals(ports: Pick<Ports, 'bases'>, base: BaseImage): Promise<void> {
  for (const layer of layersOf(base)) assertSeal(layer, await ports.bases.seal(layer));
}

/** Differences between the records of a base image's layers and their files, prefixed with the layer. */
export async function chainDifferences(ports: Pick<Ports, 'bases'>, base: BaseImage): Promise<string[]> {
  const differencesOf = async (layer: BaseLayer): Promise<string[]> => sealDifferences(layer.seal, await ports.bases.seal(layer));
  const below = await Promise.all(
    base.backing.map(async (layer) =>
      (await differencesOf(layer)).map((difference) => `its backing image ${formatBaseRef(layer)}: ${difference}`),
    ),
  );
  return [...(await differencesOf(base)), ...below.flat()];
}
