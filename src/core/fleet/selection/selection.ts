import { CowherdError } from '../../errors.js';
import { limits } from '../../limits.js';
import type { MemberIdentity } from '../identity.js';

/** Limits the range of a typo such as 1-999999: no fleet has so many members. */
const maxUnknown = limits.members.max;

/**
 * Picks members by name (`lab-003`), number (`3`) or range (`1-10`), separated by commas or given as several words.
 * @returns in index order, each once; all members if none is named
 * @throws MEMBER_NOT_FOUND, BAD_USAGE
 */
export function selectMembers<M extends MemberIdentity>(fleet: string, members: readonly M[], words: readonly string[]): M[] {
  const sorted = [...members].sort((a, b) => a.index - b.index);
  const wanted = words.flatMap((word) => word.split(',')).filter((word) => word !== '');
  if (wanted.length === 0) {
    if (words.length > 0)
      throw new CowherdError('BAD_USAGE', 'The list of members is empty', { hint: 'Name members as 1-10,17, or leave them out for all.' });
    return sorted;
  }
  const byIndex = new Map(sorted.map((member) => [member.index, member]));
  const byName = new Map(sorted.map((member) => [member.name, member]));
  const picked = new Set<M>();
  const unknown: string[] = [];
  for (const word of wanted) {
    const named = byName.get(word);
    const numbers = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(word);
    if (named !== undefined) {
      picked.add(named);
    } else if (numbers !== null) {
      const first = Number(numbers[1]);
      const last = Number(numbers[2] ?? numbers[1]);
      if (last < first) throw new CowherdError('BAD_USAGE', `The range ${word} is reversed`, { hint: `Write ${last}-${first}.` });
      for (let index = first; index <= last && unknown.length < maxUnknown; index++) {
        const member = byIndex.get(index);
        if (member === undefined) unknown.push(String(index));
        else picked.add(member);
      }
    } else {
      unknown.push(word);
    }
  }
  if (unknown.length > 0) {
    const shown = unknown.slice(0, 5).join(', ') + (unknown.length > 5 ? `, and ${unknown.length - 5} more` : '');
    throw new CowherdError('MEMBER_NOT_FOUND', `Fleet ${fleet} has no member ${shown}`, {
      hint: `It has ${formatIndexes(sorted.map((member) => member.index)) || 'none'}. Name members as 1-10,17 or ${fleet}-001.`,
    });
  }
  return sorted.filter((member) => picked.has(member));
}

/** `[1,2,3,7]` → `1-3,7`: the form that {@link selectMembers} reads. */
export function formatIndexes(indexes: readonly number[]): string {
  const runs: Array<[number, number]> = [];
  for (const index of [...indexes].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && index <= run[1] + 1) run[1] = Math.max(run[1], index);
    else runs.push([index, index]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}
