import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isTemporary } from './files/atomic-write.js';
import { isMissing, listDirectory, storeError } from './files/files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import {
  copyPrefix,
  type FleetLayout,
  logEnding,
  nvramEnding,
  overlayEnding,
  partialEnding,
  partialSeedEnding,
  seedEnding,
} from './layout.js';

/** Removes the files of members and fleets: only files that cowherd created. */

/** virtlogd keeps up to three older logs of 2 MiB each, as set in virtlogd.conf; removing a fleet looks for more. */
const logRotations = ['', '.0', '.1', '.2', '.3'];

/** Names in a fleet's directory. */
const ownFiles =
  /^(domain-[0-9a-f]{12}\.xml\.hbs|nvram-[0-9a-f]{12}\.fd|(user-data|user-data-raw|meta-data|network-config)-[0-9a-f]{12}\.hbs|(fleet|secrets|operation|freeze)\.json|operation\.log|history\.jsonl)$/;
const ownSshFiles = /^(id_ed25519|known_hosts)$/;
const ownSeedFiles = /^placed\.log$/;

/** @param stems of the member's disks */
export async function removeMemberFiles(
  { directory, overlays, logs, seeds, nvram, learnedHost, checkpoint, identityPendingMarker }: FleetLayout,
  member: string,
  stems: readonly string[],
): Promise<void> {
  const unlinker = new SafeUnlinker(directory);
  for (const stem of stems) for (const ending of [overlayEnding, partialEnding]) await unlinker.unlink(join(overlays, stem + ending));
  await unlinker.unlink(checkpoint(member));
  await unlinker.unlink(join(nvram, member + nvramEnding));
  for (const ending of [seedEnding, partialSeedEnding]) await unlinker.unlink(join(seeds, member + ending));
  for (const rotation of logRotations) await unlinker.unlink(join(logs, member + logEnding + rotation));
  await unlinker.unlink(learnedHost(member));
  // Last, as long as parts of its disk may exist.
  await unlinker.unlink(identityPendingMarker(member));
}

/** Removes the temporary files of an operation, and leftovers of killed runs. */
export async function removeStaged({ directory, overlays, seeds, nvram, ssh, checkpoints }: FleetLayout): Promise<void> {
  const unlinker = new SafeUnlinker(directory);
  for (const room of [overlays, seeds]) await unlinkMatching(unlinker, room, isStaged);
  for (const room of [directory, seeds, nvram, ssh, checkpoints]) await unlinkMatching(unlinker, room, isTemporary);
}

function isStaged(name: string): boolean {
  return name.startsWith('.fresh-') || name.startsWith(copyPrefix) || name.endsWith(partialEnding) || name.endsWith(partialSeedEnding);
}

/**
 * The files that describe the fleet go last, so that an interrupted removal can be repeated.
 * @param isIntentEnough whether operation.json alone describes the fleet; then fleet.json goes before it, otherwise after it
 * @returns paths in the fleet's directory that are not cowherd's and therefore stay
 */
export async function removeFleetDirectory(layout: FleetLayout, isIntentEnough: boolean): Promise<string[]> {
  const unlinker = new SafeUnlinker(layout.directory);
  const last = isIntentEnough ? [layout.record, layout.operation] : [layout.operation, layout.record];
  await removeStaged(layout);
  await unlinkMatching(unlinker, layout.logs, (name) => /\.log(\.\d+)?$/.test(name));
  await unlinkMatching(unlinker, layout.seeds, (name) => ownSeedFiles.test(name));
  await unlinkMatching(unlinker, layout.ssh, (name) => ownSshFiles.test(name));
  await unlinkMatching(unlinker, layout.directory, (name) => ownFiles.test(name) && !last.includes(join(layout.directory, name)));
  const rooms = [layout.overlays, layout.logs, layout.seeds, layout.nvram, layout.ssh, layout.checkpoints, layout.unmade];
  for (const room of rooms) await removeEmpty(room);
  for (const path of last) await unlinker.unlink(path);
  await removeEmpty(layout.directory);
  const left = await Promise.all(
    [layout.directory, ...rooms].map(async (directory) => (await listDirectory(directory)).map((name) => join(directory, name))),
  );
  return left.flat().filter((path) => !rooms.includes(path));
}

/** Removes the directory if it is empty. */
export async function removeEmpty(directory: string): Promise<void> {
  await rmdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && !isMissing(error)) throw storeError(`remove ${directory}`, error);
  });
}

async function unlinkMatching(unlinker: SafeUnlinker, directory: string, isOwn: (name: string) => boolean): Promise<void> {
  for (const name of (await listDirectory(directory)).filter(isOwn)) await unlinker.unlink(join(directory, name));
}
