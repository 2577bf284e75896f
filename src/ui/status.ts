import { formatBaseRef } from '../core/base.js';
import type { FleetMemory, MemberMemory } from '../core/fleet-memory.js';
import { formatUtc } from '../core/lock.js';
import { formatIndexes } from '../core/selection.js';
import type { FleetStatus, FleetSummary, MemberStatus } from '../services/status.js';
import { bytes, type Column, countsLine, duration, plural, table } from './format.js';

const stateWords: Record<string, string> = { shutOff: 'off' };

export function renderStatus(status: FleetStatus): string {
  const { fleet, base, counts, unfinished, lock, members } = status;
  const lines = [`${fleet}: ${countsLine(counts, stateWords)}, on ${formatBaseRef(base)}`];
  if (base.problem !== null) lines.push(`  ! ${base.problem}. Check it: cowherd base verify ${formatBaseRef(base)}`);
  const outdated = members.filter((member) => member.outdated).length;
  if (status.newerBase !== null)
    lines.push(
      `  ! ${outdated} on an outdated base image: ${status.newerBase} is newer. Move them: cowherd rebase ${fleet} --base ${status.newerBase}`,
    );
  if (unfinished !== undefined) {
    const { verb, startedAt, done, total, pid, lockedBy } = unfinished;
    const state = pid !== null ? `is under way (pid ${pid})` : lockedBy === null ? 'was interrupted' : 'has not ended';
    const began = /^\d/.test(startedAt) ? formatUtc(startedAt) : startedAt;
    const what = `a ${verb} that began ${began} ${state}: ${done} of ${total} done`;
    if (pid !== null) lines.push(`  ${what}`);
    else if (lockedBy === null) lines.push(`  ! ${what}. Finish it: cowherd resume ${fleet}`);
    else lines.push(`  ! ${what}, and the fleet is locked by ${lockedBy}. When that has ended: cowherd resume ${fleet}`);
  }
  if (unfinished === undefined && lock !== undefined) {
    lines.push(lock.isRun ? `  ${lock.by} is under way` : `  ! the fleet is locked by ${lock.by}`);
  }
  if (status.memory !== undefined) lines.push(...memoryLines(status.memory));
  if (members.length === 0) return lines.join('\n');
  lines.push(
    '',
    table<MemberStatus>(members, [
      { title: 'MEMBER', value: (member) => member.name },
      { title: 'STATE', value: (member) => stateWords[member.state] ?? member.state },
      { title: 'UPTIME', value: (member) => (member.uptimeSeconds === null ? '-' : duration(member.uptimeSeconds)), align: 'right' },
      ...(members.some(hasAddress) ? [{ title: 'ADDRESS', value: addressOf }] : []),
      ...(status.newerBase === null ? [] : [{ title: 'BASE', value: (member: MemberStatus) => member.base }]),
      { title: 'OVERLAY', value: (member) => bytes(member.overlayBytes), align: 'right' },
      { title: 'DRIFT', value: (member) => bytes(member.driftBytes), align: 'right' },
      ...memoryColumns(status),
      ...(members.some(({ checkpointAt }) => checkpointAt !== null) ? [{ title: 'CHECKPOINT', value: checkpointOf }] : []),
      { title: 'REASON', value: (member) => (member.problems.length > 0 ? member.problems.join('; ') : member.reason) },
    ]),
  );
  const hints = new Map<string, MemberStatus[]>();
  for (const member of members) {
    if (member.hint === null) continue;
    const those = hints.get(member.hint);
    if (those === undefined) hints.set(member.hint, [member]);
    else those.push(member);
  }
  for (const [hint, those] of hints) lines.push(`  → ${formatIndexes(those.map(({ index }) => index))}: ${hint}`);
  return lines.join('\n');
}

/** Swap and what was merged only where there is some. */
function memoryColumns({ memory }: FleetStatus): Array<Column<MemberStatus>> {
  if (memory === undefined) return [];
  const column = (title: string, key: keyof MemberMemory): Column<MemberStatus> => {
    return { title, value: (member) => known(member.memory?.[key]), align: 'right' };
  };
  return [
    column('RESIDENT', 'residentBytes'),
    column('PROPORTIONAL', 'proportionalBytes'),
    ...((memory.swapBytes ?? 0) > 0 ? [column('SWAP', 'swapBytes')] : []),
    ...((memory.mergedBytes ?? 0) > 0 ? [column('MERGED', 'mergedBytes')] : []),
  ];
}

function memoryLines({ on, read, guestBytes, residentBytes, proportionalBytes, swapBytes, mergedBytes, notes }: FleetMemory): string[] {
  if (on === 0) return ['  memory: nobody is on'];
  const parts = [
    `${known(proportionalBytes)} in proportion${read < on && read > 0 ? ` (of ${read})` : ''}`,
    `${known(residentBytes)} resident`,
    ...((swapBytes ?? 0) > 0 ? [`${known(swapBytes)} in swap`] : []),
    ...(mergedBytes === null ? [] : [`${mergedBytes === 0 ? 'nothing' : bytes(mergedBytes)} merged by KSM`]),
  ];
  return [`  memory: ${plural(on, 'guest')} with ${bytes(guestBytes)} given; ${parts.join(', ')}`, ...notes.map((note) => `  ! ${note}`)];
}

function known(count: number | null | undefined): string {
  return count === null || count === undefined ? '-' : bytes(count);
}

function hasAddress({ address, sshPort }: MemberStatus): boolean {
  return address !== null || sshPort !== null;
}

function checkpointOf({ checkpointAt }: MemberStatus): string {
  return checkpointAt === null ? '-' : checkpointAt.slice(0, 16).replace('T', ' ');
}

function addressOf({ address, sshPort }: MemberStatus): string {
  return sshPort === null ? (address ?? '-') : `127.0.0.1:${sshPort}`;
}

export function renderFleets(fleets: readonly FleetSummary[], root: string): string {
  if (fleets.length === 0) return `No fleets in ${root}. Make one: cowherd spawn lab --base golden.qcow2 --count 10`;
  return table<FleetSummary>(fleets, [
    { title: 'FLEET', value: (row) => row.fleet },
    { title: 'MEMBERS', value: (row) => String(row.members), align: 'right' },
    { title: 'BASE', value: (row) => row.base },
    { title: 'OVERLAYS', value: (row) => bytes(row.overlayBytes), align: 'right' },
    {
      title: 'STATE',
      value: (row) =>
        [
          row.counts === null ? undefined : countsLine(row.counts, stateWords),
          row.running === null ? undefined : `${row.running} is under way`,
          row.unfinished === null || row.running !== null ? undefined : `unfinished ${row.unfinished}`,
          row.problem ?? undefined,
        ]
          .filter((part) => part !== undefined)
          .join('; '),
    },
  ]);
}

export function renderWatchFrame(status: FleetStatus, rows: number): string {
  const lines = renderStatus(status).split('\n');
  const room = Math.max(5, rows - 2);
  return lines.length <= room ? lines.join('\n') : [...lines.slice(0, room), `… ${plural(lines.length - room, 'more line')}`].join('\n');
}
