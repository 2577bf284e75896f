import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { PathObstacle } from '../../core/host/reachability.js';
import type { ReachTarget } from '../../ports/machine.js';
import { runTool } from '../process.js';
import { groupIdsOf, userNameOf } from './accounts.js';

/** What keeps a user from files and directories: no search permission for a component of the path, or no read permission for a file. */

const atOnce = 32;

/** @returns each obstacle once, nearest to the root directory first */
export async function findObstacles(user: { uid: number; gid: number }, targets: readonly ReachTarget[]): Promise<PathObstacle[]> {
  // root has access everywhere.
  if (user.uid === 0) return [];
  const gids = new Set([user.gid, ...(await groupIdsOf(user.uid))]);
  const name = `${(await userNameOf(user.uid)) ?? 'the user'} (uid ${user.uid})`;
  const needed = [...neededBits(targets)];
  const found: PathObstacle[] = [];
  for (let from = 0; from < needed.length; from += atOnce) {
    const obstacles = await Promise.all(
      needed.slice(from, from + atOnce).map(([path, bits]) => obstacleAt(path, bits, user.uid, gids, name)),
    );
    found.push(...obstacles.filter((obstacle) => obstacle !== undefined));
  }
  return found.sort((a, b) => a.path.split('/').length - b.path.split('/').length || a.path.localeCompare(b.path));
}

/** By path: 1 to search it, 4 to read it. */
function neededBits(targets: readonly ReachTarget[]): Map<string, number> {
  const needed = new Map<string, number>();
  for (const { path, needs } of targets) {
    const target = resolve(path);
    if (needs === 'read') needed.set(target, 4);
    for (let component = needs === 'read' ? dirname(target) : target; !needed.has(component); component = dirname(component))
      needed.set(component, 1);
  }
  return needed;
}

async function obstacleAt(
  path: string,
  bits: number,
  uid: number,
  gids: ReadonlySet<number>,
  name: string,
): Promise<PathObstacle | undefined> {
  const stats = await stat(path).catch(() => undefined);
  // If missing, cowherd creates it searchable for others. libvirt makes QEMU the owner of a disk.
  if (stats === undefined || (bits === 1 && !stats.isDirectory())) return undefined;
  const [letter, shift] = stats.uid === uid ? ['u', 6] : gids.has(stats.gid) ? ['g', 3] : ['o', 0];
  if ((stats.mode & (bits << Number(shift))) !== 0 || (await hasAcl(path))) return undefined;
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
  const permission = bits === 1 ? 'search' : 'read';
  return { path, reason: `${name} has no ${permission} permission (mode ${mode})`, grant: `${letter}+${bits === 1 ? 'x' : 'r'}` };
}

/** An access control list may grant more than the mode shows. */
async function hasAcl(path: string): Promise<boolean> {
  const { stdout } = await runTool('ls', ['-ld', '--', path], { anyExitCode: true }).catch(() => ({ stdout: '' }));
  return /^\S{10}\+/.test(stdout);
}
