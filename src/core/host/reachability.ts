import { shellWord } from '../quoting.js';

/** A component of a path, or a file, that a user cannot access. */
export interface PathObstacle {
  path: string;
  reason: string;
  /** The missing mode for chmod, e.g. `o+x`. */
  grant: string;
}

/**
 * Commands that grant access to all of them, since opening one of two closed directories is not enough.
 * @param storeRoot the store, whose base images have their own permissions
 */
export function reachHint(obstacles: readonly PathObstacle[], { isRoot, storeRoot }: { isRoot: boolean; storeRoot: string }): string {
  const sudo = isRoot ? '' : 'sudo ';
  const isImage = ({ path, grant }: PathObstacle): boolean => grant.endsWith('r') && path.startsWith(`${storeRoot}/bases/`);
  const plain = obstacles.filter((obstacle) => !isImage(obstacle));
  const commands = [...new Set(plain.map(({ grant }) => grant))].map((grant) => {
    const paths = plain.filter((obstacle) => obstacle.grant === grant).map(({ path }) => shellWord(path));
    return `${sudo}chmod ${grant} ${paths.map(shellWord).join(' ')}`;
  });
  if (plain.length < obstacles.length) commands.push('cowherd verify --fix');
  return `Grant access: ${commands.join(' && ')}`;
}
