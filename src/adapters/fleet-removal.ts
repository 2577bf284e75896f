import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing, listDirectory, Shears, storeError } from './files.js';
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

/** What is unlinked when members and fleets go: files that cowherd made, and no others. */

/** libvirt's log daemon keeps up to three older logs of 2 MiB each, as set in virtlogd.conf; removing a fleet looks for more. */
const logRotations = ['', '.0', '.1', '.2', '.3'];

/** Names in a fleet's directory, with those that an interrupted atomic write leaves. */
const ownFiles =
  /^(domain-[0-9a-f]{12}\.xml\.hbs|nvram-[0-9a-f]{12}\.fd|(user-data|meta-data|network-config)-[0-9a-f]{12}\.hbs|(fleet|secrets|operation)\.json|operation\.log)(\.\d+)?$/;
const ownSshFiles = /^(id_ed25519|known_hosts)(\.\d+)?$/;
/** A member's NVRAM goes with the member; what is here is what an interrupted write left. */
const ownNvramFiles = /\.fd\.\d+$/;
const ownSeedFiles = /^placed\.log(\.\d+)?$/;

/** @param stems of the member's disks */
export async function removeMemberFiles(
  { directory, overlays, logs, seeds, nvram, learnedHost }: FleetLayout,
  member: string,
  stems: readonly string[],
): Promise<void> {
  const shears = new Shears(directory);
  for (const stem of stems) for (const ending of [overlayEnding, partialEnding]) await shears.unlink(join(overlays, stem + ending));
  await shears.unlink(join(nvram, member + nvramEnding));
  for (const ending of [seedEnding, partialSeedEnding]) await shears.unlink(join(seeds, member + ending));
  for (const rotation of logRotations) await shears.unlink(join(logs, member + logEnding + rotation));
  await shears.unlink(learnedHost(member));
}

/** Removes what lives for the length of an operation. */
export async function removeStaged({ directory, overlays, seeds }: FleetLayout): Promise<void> {
  const shears = new Shears(directory);
  for (const room of [overlays, seeds]) await unlinkMatching(shears, room, isStaged);
}

function isStaged(name: string): boolean {
  return name.startsWith('.fresh-') || name.startsWith(copyPrefix) || name.endsWith(partialEnding) || name.endsWith(partialSeedEnding);
}

/** @returns paths in the fleet's directory that are not cowherd's, and therefore stay */
export async function removeFleetDirectory(layout: FleetLayout): Promise<string[]> {
  const shears = new Shears(layout.directory);
  await removeStaged(layout);
  await unlinkMatching(shears, layout.logs, (name) => /\.log(\.\d+)?$/.test(name));
  await unlinkMatching(shears, layout.seeds, (name) => ownSeedFiles.test(name));
  await unlinkMatching(shears, layout.nvram, (name) => ownNvramFiles.test(name));
  await unlinkMatching(shears, layout.ssh, (name) => ownSshFiles.test(name));
  // operation.json last: as long as it is there, the teardown is known to be unfinished.
  await unlinkMatching(shears, layout.directory, (name) => ownFiles.test(name) && name !== 'operation.json');
  await shears.unlink(layout.operation);
  const rooms = [layout.overlays, layout.logs, layout.seeds, layout.nvram, layout.ssh];
  for (const directory of [...rooms, layout.directory]) {
    await rmdir(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && !isMissing(error)) throw storeError(`remove ${directory}`, error);
    });
  }
  const left = await Promise.all(
    [layout.directory, ...rooms].map(async (directory) => (await listDirectory(directory)).map((name) => join(directory, name))),
  );
  if (left.every((paths) => paths.length === 0)) await rm(layout.lock, { force: true });
  return left.flat().filter((path) => !rooms.includes(path));
}

async function unlinkMatching(shears: Shears, directory: string, isOwn: (name: string) => boolean): Promise<void> {
  for (const name of (await listDirectory(directory)).filter(isOwn)) await shears.unlink(join(directory, name));
}
