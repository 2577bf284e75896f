import { dirname } from 'node:path';
import { nvramOf } from '../../core/domain/foreign-domain.js';
import { parseXml } from '../../core/domain/xml-tree.js';
import { planCommit, planDrop, planRollback } from '../../core/snapshot/plan.js';
import { findLevel, levelName, newestLevel, newestOnly, type SnapshotLevel } from '../../core/snapshot/snapshot.js';
import type { Ports } from '../../ports/index.js';
import { assertRoom as assertFreeRoom } from '../preflight/disk-space.js';
import { assertImages, assertOnOverlays, isRunning, refuse, type SnapshotContext, type SnapshotOptions } from './access.js';
import { runVerb, type SnapshotOutcome } from './verb.js';

/** The verbs that revert or merge a snapshot. */

export interface BackOptions extends SnapshotOptions {
  /** Name or number; default: the newest. */
  snapshot?: string | undefined;
}

export interface DropOptions extends BackOptions {
  /** Return to the backing images even if they have changed since the snapshot. */
  acceptChanged?: boolean | undefined;
}

/** Restores the state of a snapshot. It is kept; newer snapshots are removed. */
export function rollbackSnapshot(ports: Ports, options: BackOptions): Promise<SnapshotOutcome> {
  return runVerb(ports, 'rollback', options, async (context) => {
    const { domain, levels } = assertTaken(ports, context);
    const chosen = findLevel(domain.name, levels, options.snapshot);
    await assertImages(
      ports,
      domain.name,
      upTo(levels, chosen),
      levels.filter(({ number }) => number < chosen.number),
    );
    assertNvram(ports, context, 'rollback', chosen);
    const newer = levels.filter(({ number }) => number > chosen.number);
    const also =
      newer.length === 0
        ? ''
        : ` The newer ${newer.length === 1 ? 'snapshot' : 'snapshots'} ${newer.map(levelName).join(', ')} will be removed.`;
    return {
      journal: planRollback(circumstances(ports, context), chosen),
      notes: nvramNotes(chosen),
      loss: `Roll ${domain.name} back to snapshot ${levelName(chosen)}? Changes since ${moment(chosen)} will be lost.${also}`,
    };
  });
}

/** Restores the state of the newest snapshot and removes the snapshot. */
export function dropSnapshot(ports: Ports, options: DropOptions): Promise<SnapshotOutcome> {
  return runVerb(ports, 'drop', options, async (context) => {
    const { domain, levels } = assertTaken(ports, context);
    const newest = newestOnly('drop', domain.name, levels, options.snapshot);
    const lower = levels.filter(({ number }) => number < newest.number);
    if (options.acceptChanged !== true) await assertImages(ports, domain.name, levels, lower);
    else await assertThere(ports, context, newest);
    assertNvram(ports, context, 'drop', newest);
    return {
      journal: planDrop(circumstances(ports, context), newest),
      notes: nvramNotes(newest),
      loss: `Drop snapshot ${levelName(newest)} of ${domain.name}? It returns to ${below(levels)}, and changes since ${moment(newest)} will be lost.`,
    };
  });
}

/** Merges the newest snapshot into its backing files: the domain keeps its state, the snapshot is removed. */
export function commitSnapshot(ports: Ports, options: BackOptions): Promise<SnapshotOutcome> {
  return runVerb(ports, 'commit', options, async (context) => {
    const { domain, levels } = assertTaken(ports, context);
    const newest = newestOnly('commit', domain.name, levels, options.snapshot);
    await assertImages(ports, domain.name, levels, levels);
    const notes = await assertRoom(ports, context, newest);
    return {
      journal: planCommit(circumstances(ports, context), newest),
      notes,
      loss: `Commit snapshot ${levelName(newest)} of ${domain.name} into ${below(levels)}? The state of ${moment(newest)} will be lost.`,
    };
  });
}

/** @throws SNAPSHOT_NOT_FOUND, DOMAIN_CHANGED */
function assertTaken(ports: Ports, context: SnapshotContext): SnapshotContext {
  if (context.levels.length === 0) findLevel(context.domain.name, [], undefined);
  assertOnOverlays(context, ports.snapshots.directory(context.domain.uuid));
  return context;
}

/** Changed backing files are accepted, missing ones are not. @throws PREFLIGHT_FAILED */
async function assertThere(ports: Ports, { domain }: SnapshotContext, { disks }: SnapshotLevel): Promise<void> {
  const obstacles = await Promise.all(
    disks.map(async ({ backing }) => ({ backing, why: await ports.disks.obstacle(backing.path, 'read') })),
  );
  const problems = obstacles.flatMap(({ backing, why }) => (why === undefined ? [] : [`${backing.path}: ${why}`]));
  refuse('drop', domain.name, problems);
}

/** The NVRAM is restored only to its original path. @throws PREFLIGHT_FAILED */
function assertNvram(ports: Ports, { xml, domain }: SnapshotContext, verb: 'rollback' | 'drop', { nvram }: SnapshotLevel): void {
  if (nvram?.copy === undefined) return;
  const { path } = nvramOf(parseXml(xml, `The XML of ${domain.name}`), ports.domains.nvramPath(domain.name));
  if (path !== nvram.path)
    refuse(verb, domain.name, [`its NVRAM changed from ${nvram.path} to ${path ?? 'none'}: restore it with virsh edit`]);
}

/** Checks sizes and permissions for a merge. @throws PREFLIGHT_FAILED @returns notes about disks that grow */
async function assertRoom(ports: Ports, { domain }: SnapshotContext, { disks }: SnapshotLevel): Promise<string[]> {
  const problems: string[] = [];
  const notes: string[] = [];
  for (const { target, overlay, backing } of disks) {
    const obstacle = await ports.disks.obstacle(backing.path, 'write');
    if (obstacle !== undefined) problems.push(`${backing.path}: ${obstacle}`);
    const [above, below] = [
      await ports.snapshotOverlays.virtualBytes(overlay, 'qcow2'),
      await ports.snapshotOverlays.virtualBytes(backing.path, backing.format),
    ];
    if (above < below) problems.push(`the overlay of ${target} (${above} bytes) is smaller than its backing file (${below})`);
    if (above > below) notes.push(`disk ${target} was enlarged: ${backing.path} grows from ${below} to ${above} bytes`);
  }
  refuse('commit', domain.name, problems);
  const needed = new Map<string, number>();
  for (const { overlay, backing } of disks) {
    const directory = dirname(backing.path);
    const [above, below] = [await ports.disks.allocatedBytes(overlay), await ports.disks.allocatedBytes(backing.path)];
    // Blocks that are already allocated are overwritten.
    const unallocated = Math.max(0, (await ports.snapshotOverlays.virtualBytes(overlay, 'qcow2')) - (below ?? 0));
    needed.set(directory, (needed.get(directory) ?? 0) + Math.min(above ?? 0, unallocated));
  }
  for (const [directory, bytes] of needed) await assertFreeRoom(ports, directory, bytes, `Committing ${domain.name}`);
  return notes;
}

function circumstances(ports: Ports, context: SnapshotContext) {
  const { domain, xml, levels } = context;
  return {
    domain: domain.name,
    uuid: domain.uuid,
    xml,
    levels,
    files: ports.snapshots.files(domain.uuid),
    wasRunning: isRunning(context),
    now: ports.clock.now(),
  };
}

function upTo(levels: readonly SnapshotLevel[], chosen: SnapshotLevel): SnapshotLevel[] {
  return levels.filter(({ number }) => number <= chosen.number);
}

function nvramNotes({ nvram }: SnapshotLevel): string[] {
  return nvram !== undefined && nvram.copy === undefined
    ? [`its NVRAM ${nvram.path} did not exist when the snapshot was taken and is not changed`]
    : [];
}

function below(levels: readonly SnapshotLevel[]): string {
  const lower = levels.at(-2);
  if (lower !== undefined) return `snapshot ${levelName(lower)}`;
  const paths = newestLevel(levels)?.disks.map(({ backing }) => backing.path) ?? [];
  return paths.length === 1 ? `${paths[0]}` : `its ${paths.length} original disks`;
}

function moment({ takenAt }: SnapshotLevel): string {
  return takenAt.slice(0, 16).replace('T', ' ');
}
