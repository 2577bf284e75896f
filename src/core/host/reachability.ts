import { shellWord } from '../quoting.js';

/** A component of a path, or a file, that a user may not use. */
export interface PathObstacle {
  path: string;
  reason: string;
  /** What chmod would have to grant, e.g. `o+x`. */
  grant: string;
}

/**
 * What lets a user get to all of them: to open one of two closed directories changes nothing.
 * @param storeRoot where base images are, which have rights of their own
 */
export function reachHint(obstacles: readonly PathObstacle[], { isRoot, storeRoot }: { isRoot: boolean; storeRoot: string }): string {
  const sudo = isRoot ? '' : 'sudo ';
  const isImage = ({ path, grant }: PathObstacle): boolean => grant.endsWith('r') && path.startsWith(`${storeRoot}/bases/`);
  const plain = obstacles.filter((obstacle) => !isImage(obstacle));
  const commands = [...new Set(plain.map(({ grant }) => grant))].map((grant) => {
    const paths = plain.filter((obstacle) => obstacle.grant === grant).map(({ path }) => shellWord(path));
    return `${sudo}chmod ${grant} ${paths.join(' ')}`;
  });
  if (plain.length < obstacles.length) commands.push('cowherd verify --fix');
  return `Grant access: ${commands.join(' && ')}`;
}
