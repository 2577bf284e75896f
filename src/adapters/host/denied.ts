import { accessSync, constants, existsSync, lstatSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';
import { CowherdError, isDenied } from '../../core/errors.js';
import { shellWord } from '../../core/quoting.js';

/** What EACCES and EPERM do not say: which user was denied which permission for which component of the path. */
export interface Denial {
  /** E.g. `alice has no search permission for /srv/closed (owner root, mode 0700)`. */
  reason: string;
  hint: string;
}

/**
 * Checks the permissions of this user. Synchronous, since it runs while an error is created.
 * @param doing e.g. `read /srv/store/x`
 * @returns undefined if the cause cannot be found
 */
export function denialOf(doing: string, cause: unknown): Denial | undefined {
  const { path, dest, code } = cause as NodeJS.ErrnoException & { dest?: string };
  const named = dest ?? path ?? / (\/\S*)/.exec(doing)?.[1];
  if (named === undefined) return undefined;
  const target = resolve(named);
  if (process.getuid?.() === 0) {
    return code === 'EPERM' ? { reason: `root cannot change ${target}`, hint: immutableHint(target) } : undefined;
  }
  const found = missingPermission(target, doing.startsWith('read '));
  if (found === undefined) return undefined;
  const { component, may } = found;
  const { owner, mode } = rightsOf(component);
  const isOwner = owner === userName();
  const letter = { search: 'x', read: 'r', write: 'w' }[may];
  return {
    reason: `${userName()} has no ${may} permission for ${component} (owner ${owner}, mode ${mode})`,
    hint: isOwner ? `Grant yourself the permission: chmod u+${letter} ${shellWord(component)}` : otherUserHint(owner, may),
  };
}

/** The error for a named file that cannot be read, with the missing permission if there is one. */
export function unreadable(path: string, cause: unknown): CowherdError {
  const denial = isDenied(cause) ? denialOf(`read ${path}`, cause) : undefined;
  const reason = denial?.reason ?? (cause instanceof Error ? cause.message : String(cause));
  return new CowherdError('FILE_NOT_FOUND', `${path} cannot be read: ${reason}`, { hint: denial?.hint ?? 'Check the path.', cause });
}

function immutableHint(target: string): string {
  const paths = [target, dirname(target)].filter((path) => existsSync(path)).map(shellWord);
  return `Even root cannot change it: "lsattr -d ${paths.join(' ')}" marks what is immutable with an i, and "chattr -i" on it clears that. Or is it on a file system of another host?`;
}

function otherUserHint(owner: string, may: string): string {
  const as = owner === 'root' ? 'root (sudo)' : `${owner} or root (sudo)`;
  const own = may === 'read' ? '' : ' "cowherd doctor" prints the command that creates a store for you; --store DIR uses another one.';
  return `Run the same command as ${as}.${own}`;
}

function missingPermission(target: string, isReading: boolean): { component: string; may: 'search' | 'read' | 'write' } | undefined {
  const ancestors: string[] = [];
  for (let path = dirname(target); ; path = dirname(path)) {
    ancestors.unshift(path);
    if (path === dirname(path)) break;
  }
  for (const component of ancestors) if (!may(component, constants.X_OK)) return { component, may: 'search' };
  if (!may(target, constants.R_OK)) return { component: target, may: 'read' };
  if (isReading) return undefined;
  if (!may(target, constants.W_OK)) return { component: target, may: 'write' };
  const above = ancestors.at(-1) ?? '/';
  return may(above, constants.W_OK) ? undefined : { component: above, may: 'write' };
}

/** Also true for a missing file, since then the permission is not the problem. */
function may(path: string, how: number): boolean {
  try {
    accessSync(path, how);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EACCES';
  }
}

function rightsOf(path: string): { owner: string; mode: string } {
  try {
    const { uid, mode } = lstatSync(path);
    return { owner: nameOf(uid), mode: (mode & 0o7777).toString(8).padStart(4, '0') };
  } catch {
    return { owner: 'unknown', mode: 'unknown' };
  }
}

function nameOf(uid: number): string {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  return lines.map((line) => line.split(':')).find((fields) => fields[2] === String(uid))?.[0] ?? `uid ${uid}`;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A user without a passwd entry, as in a container.
    return `uid ${process.getuid?.() ?? ''}`;
  }
}
