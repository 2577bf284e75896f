import { stateWord } from '../../../core/events/event-text.js';
import type { MemberView } from '../../protocol.js';

/** Which members the table shows, and in which order. */

export type SortKey = 'member' | 'state' | 'uptime' | 'address' | 'overlay' | 'drift' | 'checkpoint' | 'base';
export type GroupKey = 'none' | 'state' | 'base';

export interface TableChoice {
  filter: string;
  sort: SortKey;
  isDown: boolean;
  group: GroupKey;
}

export type Item = { kind: 'group'; key: string; indexes: readonly number[] } | { kind: 'member'; index: number };

const { compare } = new Intl.Collator('en', { numeric: true });

const stateOrder = ['broken', 'missing', 'paused', 'running', 'shutOff'];

/** Null is unknown, and last in both directions. */
const sortValue: Record<SortKey, (member: MemberView) => string | number | null> = {
  member: ({ index }) => index,
  state: ({ state }) => stateOrder.indexOf(state),
  uptime: ({ startedAt }) => (startedAt === null ? null : -Date.parse(startedAt)),
  address: (member) => addressOf(member),
  overlay: ({ overlayBytes }) => overlayBytes,
  drift: ({ driftBytes }) => driftBytes,
  checkpoint: ({ checkpointAt }) => checkpointAt,
  base: ({ base }) => base,
};

export function addressOf({ address, sshPort }: MemberView): string | null {
  return sshPort === null ? address : `127.0.0.1:${sshPort}`;
}

export function filtered(members: readonly MemberView[], filter: string): readonly MemberView[] {
  const words = filter
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  return words.length === 0 ? members : members.filter((member) => words.every((word) => textOf(member).includes(word)));
}

export function sorted(members: readonly MemberView[], { sort, isDown }: Pick<TableChoice, 'sort' | 'isDown'>): readonly MemberView[] {
  const value = sortValue[sort];
  const rows = members.map((member) => ({ member, value: value(member) }));
  rows.sort((a, b) => {
    if (a.value === null || b.value === null) return Number(a.value === null) - Number(b.value === null);
    const order =
      typeof a.value === 'number' && typeof b.value === 'number' ? a.value - b.value : compare(String(a.value), String(b.value));
    return order === 0 ? a.member.index - b.member.index : isDown ? -order : order;
  });
  return rows.map(({ member }) => member);
}

export function tableItems(members: readonly MemberView[], choice: TableChoice): readonly Item[] {
  const rows = sorted(filtered(members, choice.filter), choice);
  const { group } = choice;
  if (group === 'none') return rows.map(({ index }) => ({ kind: 'member', index }));
  const groups = new Map<string, number[]>();
  for (const member of rows) {
    const key = member[group];
    const indexes = groups.get(key);
    if (indexes === undefined) groups.set(key, [member.index]);
    else indexes.push(member.index);
  }
  const order = (key: string): number => (group === 'state' ? stateOrder.indexOf(key) : 0);
  return [...groups]
    .sort(([a], [b]) => order(a) - order(b) || compare(a, b))
    .flatMap(([key, indexes]) => [
      { kind: 'group' as const, key, indexes },
      ...indexes.map((index) => ({ kind: 'member' as const, index })),
    ]);
}

/** Of the members that are listed, in the order of the table. */
export function listedIndexes(items: readonly Item[]): number[] {
  return items.flatMap((item) => (item.kind === 'member' ? item.index : []));
}

const texts = new WeakMap<MemberView, string>();

function textOf(member: MemberView): string {
  const known = texts.get(member);
  if (known !== undefined) return known;
  const { name, state, reason, base, isOutdated, problems, checkpointAt } = member;
  const parts = [
    ...[name, stateWord(state), reason, addressOf(member) ?? '', base, ...problems],
    ...(isOutdated ? ['outdated'] : []),
    ...(checkpointAt === null ? [] : ['checkpoint']),
  ];
  const text = parts.join('\n').toLowerCase();
  texts.set(member, text);
  return text;
}
