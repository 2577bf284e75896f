import type { ErrorReport } from '../../core/errors.js';
import { formatIndexes } from '../../core/fleet/selection/selection.js';
import { plural } from '../terminal/format.js';

/** Shows members that failed for the same reason in one line with one hint. */

export interface Failure {
  name: string;
  /** The step that failed. */
  doing?: string | undefined;
  error?: ErrorReport | undefined;
}

const maxGroups = 20;
const maxDetails = 5;
/** More members than this are listed by number. */
const namedMembers = 3;

export function renderFailures(failures: readonly Failure[]): string[] {
  const groups = grouped(failures);
  const lines = groups.slice(0, maxGroups).flatMap((group, position) => {
    const hint = group[0]?.error?.hint;
    // Consecutive lines with the same hint show it once, after the last of them.
    const isLast = hint === undefined || position === maxGroups - 1 || groups[position + 1]?.[0]?.error?.hint !== hint;
    return [...groupLines(group), ...(isLast && hint !== undefined ? [`  → ${hint}`] : [])];
  });
  const left = groups.slice(maxGroups).flat().length;
  return left === 0 ? lines : [...lines, `  … and ${plural(left, 'more member')}: see --json`];
}

function grouped(failures: readonly Failure[]): Failure[][] {
  const groups = new Map<string, Failure[]>();
  for (const failure of failures) {
    const key = keyOf(failure);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [failure]);
    else group.push(failure);
  }
  return [...groups.values()];
}

/** Parts that differ between members with the same failure: UUIDs, MAC and IP addresses, and times. */
const own =
  /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|\d{4}-\d\d-\d\d[T ][\d:.]+\S*/g;

function keyOf({ name, doing, error }: Failure): string {
  return withoutOwn(name, [doing ?? '', error?.message ?? '', error?.hint ?? ''].join('\n'));
}

function withoutOwn(name: string, text: string): string {
  return text.replaceAll(name, '\u0000').replace(own, '\u0000');
}

function groupLines(group: readonly Failure[]): string[] {
  const [first] = group;
  if (first === undefined) return [];
  const message = first.error?.message ?? 'no reason given';
  const told = message.startsWith(`${first.name} `) ? message.slice(first.name.length + 1) : message;
  const about = [
    ...(group.length > namedMembers ? [plural(group.length, 'member')] : []),
    ...(first.doing === undefined ? [] : [first.doing]),
  ];
  const doing = about.length === 0 ? '' : ` (${about.join(', ')})`;
  const details = group.length === 1 ? (first.error?.details ?? []) : sharedDetails(group);
  return [`  ${nameList(group.map(({ name }) => name))}${doing}: ${told}`, ...details.map((detail) => `      ${detail}`)];
}

/** Identical details once; otherwise those of the first few members, with their names. */
function sharedDetails(group: readonly Failure[]): string[] {
  const all = group.map(({ error }) => (error?.details ?? []).join('; '));
  if (new Set(group.map(({ name }, position) => withoutOwn(name, all[position] ?? ''))).size === 1)
    return [...(group[0]?.error?.details ?? [])];
  const told = group.flatMap(({ name }, position) => (all[position] === '' ? [] : [`${name}: ${all[position]}`]));
  return told.length <= maxDetails ? told : [...told.slice(0, maxDetails - 1), `… and ${told.length - maxDetails + 1} more`];
}

/** `lab-003`, `lab-003, lab-004`, or `lab 1-10,17`: as commands accept it. */
function nameList(names: readonly string[]): string {
  if (names.length <= namedMembers) return names.join(', ');
  const parts = names.map((name) => /^(.*)-(\d+)$/.exec(name));
  const fleet = parts[0]?.[1];
  if (parts.some((part) => part === null || part[1] !== fleet))
    return `${names.slice(0, namedMembers).join(', ')} and ${names.length - namedMembers} more`;
  return `${fleet} ${formatIndexes(parts.map((part) => Number(part?.[2])))}`;
}
