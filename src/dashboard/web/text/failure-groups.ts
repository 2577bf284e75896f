import type { ErrorReport } from '../../../core/errors.js';
import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import type { JobView } from '../../protocol.js';

/** Members that failed for the same reason. */
export interface FailureGroup {
  /** One name, or the indexes: `1-3,7`. */
  members: string;
  count: number;
  error: ErrorReport;
}

export function failureGroups(failures: JobView['failures']): FailureGroup[] {
  const groups = new Map<string, JobView['failures']>();
  for (const failure of failures) {
    const key = keyOf(failure);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [failure]);
    else group.push(failure);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const members = group.length === 1 ? first.name : formatIndexes(group.map(({ index }) => index));
    const { message } = first.error;
    const told = message.startsWith(`${first.name} `) ? message.slice(first.name.length + 1) : message;
    return [{ members, count: group.length, error: { ...first.error, message: told } }];
  });
}

function keyOf({ name, error: { code, message, hint = '', details = [] } }: JobView['failures'][number]): string {
  return JSON.stringify([code, message, hint, ...details]).replaceAll(name, '…');
}
