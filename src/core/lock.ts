/** The note that a run writes into a lock file while it holds the lock, and descriptions of lock holders. */

export interface LockNote {
  pid: number;
  /** Start time of that process in ticks since boot: distinguishes it from a later process with the same pid. */
  startTicks?: number | undefined;
  /** e.g. `base add`; undefined for programs that use the library. */
  verb?: string | undefined;
  /** When the lock was taken, as an ISO date. */
  since?: string | undefined;
}

export interface LockHolder extends Partial<LockNote> {
  /**
   * run: a run of cowherd. orphan: a tool that such a run started and that outlived it; `verb` and `since` are those of the run, `pid`
   * and `command` those of the tool. stranger: another program. unknown: a process that this user cannot see.
   */
  kind: 'run' | 'orphan' | 'stranger' | 'unknown';
  /** The name of the process. */
  command?: string | undefined;
  /** It is this process. */
  isOwn?: true;
}

export function formatLockNote({ pid, startTicks, verb, since }: LockNote): string {
  const lines = { pid, start: startTicks, verb, since };
  return Object.entries(lines)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key} ${value}\n`)
    .join('');
}

/** @returns undefined if it is invalid: an earlier holder may have been killed while writing */
export function parseLockNote(text: string): LockNote | undefined {
  const value = (key: string, pattern: string): string | undefined => new RegExp(`^${key} (${pattern})$`, 'm').exec(text)?.[1];
  const [pid, start] = [value('pid', '\\d{1,10}'), value('start', '\\d{1,15}')];
  if (pid === undefined) return undefined;
  return {
    pid: Number(pid),
    ...(start === undefined ? {} : { startTicks: Number(start) }),
    verb: value('verb', '[a-z][a-z -]{0,39}'),
    since: value('since', '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z'),
  };
}

/** `2026-11-25T19:00:39.123Z` → `2026-11-25 19:00:39 UTC` */
export function formatUtc(isoDate: string): string {
  return `${isoDate.slice(0, 19).replace('T', ' ')} UTC`;
}

/** For `… is locked by X`. */
export function describeHolder({ kind, pid, verb, since, command }: LockHolder): string {
  const began = since === undefined ? undefined : `since ${formatUtc(since)}`;
  const facts = (...parts: Array<string | undefined>): string => {
    const known = parts.filter((part) => part !== undefined);
    return known.length === 0 ? '' : ` (${known.join(', ')})`;
  };
  const process = pid === undefined ? undefined : `pid ${pid}`;
  if (kind === 'run') return `${verb === undefined ? 'another run of cowherd' : `"cowherd ${verb}"`}${facts(process, began)}`;
  if (kind === 'orphan') return `${command ?? 'a tool'}${facts(process)}, started by a run of cowherd that has ended${facts(verb, began)}`;
  if (kind === 'stranger') return `another program, not cowherd${facts(command, process)}`;
  return 'a process that this user cannot see';
}

/** The hint for a lock that another process holds. */
export function lockHint({ kind, pid }: LockHolder, path: string): string {
  if (kind === 'run' || kind === 'orphan')
    return 'Run the command again with --lock-timeout 5m: it waits that long for the lock. The lock is released when that process ends.';
  if (kind === 'stranger')
    return `See what it is (ps -fp ${pid}) and why it has ${path} locked. The lock is released when that process ends.`;
  return 'To see which process holds it, run as root on the host: lslocks -u -o PID,COMMAND,PATH';
}

/** The holder of a lock, for JSON. */
export interface LockStatus {
  /** Whether it is a run of cowherd; if not, a tool that such a run left behind, or another program. */
  isRun: boolean;
  /** The command of that run; null if unknown. */
  verb: string | null;
  pid: number | null;
  /** When it took the lock, as an ISO date. */
  since: string | null;
  /** A description of the holder. */
  by: string;
}

export function lockStatus(holder: LockHolder): LockStatus {
  const { kind, verb = null, pid = null, since = null } = holder;
  return { isRun: kind === 'run', verb, pid, since, by: describeHolder(holder) };
}
