import { CowherdError } from '../errors.js';

/** One side of a copy: a path on this host, or in the guests of a fleet or of a member. */
export interface CopySide {
  /** Fleets or members, separated by commas; empty for those of a fleet file; undefined for a path on this host. */
  target: string | undefined;
  path: string;
}

export interface CopyPlan {
  direction: 'to' | 'from';
  target: string;
  local: string;
  remote: string;
}

/**
 * `lab:/etc/motd`, `lab-001:/etc/motd`, `web,db:/etc/motd` or a path on this host; `./a:b` is on this host, too.
 * @param hasFile whether a fleet file names the fleets, so that `:/etc/motd` is in their guests
 */
function parseSide(text: string, hasFile = false): CopySide {
  const match = (hasFile ? /^()?:(.*)$/s : /^([a-z0-9][a-z0-9,-]{0,1000}):(.*)$/s).exec(text);
  return match === null ? { target: undefined, path: text } : { target: match[1] ?? '', path: match[2] ?? '' };
}

/** @throws BAD_USAGE unless exactly one side is in guests */
export function planCopy(source: string, destination: string, hasFile = false): CopyPlan {
  const [from, to] = [parseSide(source, hasFile), parseSide(destination, hasFile)];
  const usage = hasFile
    ? 'Write cowherd cp --file lab.yaml FILE :/path, or :/path DIRECTORY to fetch.'
    : 'Write cowherd cp FILE lab:/path for all members, lab-001:/path for one, or lab-001:/path FILE to fetch.';
  if (from.target !== undefined && to.target !== undefined)
    throw new CowherdError('BAD_USAGE', 'Cannot copy from guest to guest', { hint: 'Fetch the file first, then send it.' });
  const plan: CopyPlan | undefined =
    to.target !== undefined
      ? { direction: 'to', target: to.target, local: from.path, remote: to.path }
      : from.target !== undefined
        ? { direction: 'from', target: from.target, local: to.path, remote: from.path }
        : undefined;
  if (plan === undefined) throw new CowherdError('BAD_USAGE', 'Neither side is in a guest', { hint: usage });
  if (plan.local === '' || plan.remote === '') throw new CowherdError('BAD_USAGE', 'A path is missing', { hint: usage });
  return plan;
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.replace(/\/+$/, '').split('/').at(-1) ?? path;
}
