import type { FleetMemory } from '../../core/fleet/memory.js';
import { formatIndexes } from '../../core/fleet/selection/selection.js';
import { formatBaseRef } from '../../core/image/base.js';
import { formatUtc } from '../../core/lock.js';
import type { MemberStatus } from '../../services/fleet/status/member-status.js';
import type { FleetStatus, FleetSummary } from '../../services/fleet/status/status.js';
import { bytes, countsLine, plural } from '../terminal/format.js';
import { page } from '../terminal/layout.js';
import { renderRows, type TableView } from '../terminal/rows.js';
import { fleetFields, stateWords, statusFields, statusRows, usualStatusFields } from './status-fields.js';

export function renderStatus(status: FleetStatus, view: TableView = {}): string {
  const { fleet, base, counts, unfinished, lock, members } = status;
  const lines = [`${fleet}: ${countsLine(counts, stateWords)}, on ${formatBaseRef(base)}`];
  if (base.problem !== null) lines.push(`  ! ${base.problem}. Check it: cowherd base verify ${formatBaseRef(base)}`);
  const outdated = members.filter((member) => member.outdated).length;
  if (status.newerBase !== null)
    lines.push(
      `  ! ${outdated} on an outdated base image: ${status.newerBase} is newer. To move them: cowherd rebase ${fleet} --base ${status.newerBase}`,
    );
  if (unfinished !== undefined) {
    const { verb, startedAt, done, total, pid, lockedBy } = unfinished;
    const state = pid !== null ? `is in progress (pid ${pid})` : lockedBy === null ? 'was interrupted' : 'is unfinished';
    const began = /^\d/.test(startedAt) ? formatUtc(startedAt) : startedAt;
    const what = `a ${verb} started ${began} ${state}: ${done} of ${total} done`;
    if (pid !== null) lines.push(`  ${what}`);
    else if (lockedBy === null) lines.push(`  ! ${what}. Finish it: cowherd resume ${fleet}`);
    else lines.push(`  ! ${what}, and the fleet is locked by ${lockedBy}. When that run has ended: cowherd resume ${fleet}`);
  }
  if (unfinished === undefined && lock !== undefined) {
    lines.push(lock.isRun ? `  in progress: ${lock.by}` : `  ! the fleet is locked by ${lock.by}`);
  }
  if (status.memory !== undefined) lines.push(...memoryLines(status.memory));
  const about = page(lines.splice(0).join('\n'));
  if (members.length === 0) return about;
  lines.push(about, '', renderRows(statusRows([status]), Object.values(statusFields), usualStatusFields(status), view));
  const hints = new Map<string, MemberStatus[]>();
  for (const member of members) {
    if (member.hint === null) continue;
    const those = hints.get(member.hint);
    if (those === undefined) hints.set(member.hint, [member]);
    else those.push(member);
  }
  for (const [hint, those] of hints) lines.push(page(`  → ${formatIndexes(those.map(({ index }) => index))}: ${hint}`));
  return lines.join('\n');
}

function memoryLines(memory: FleetMemory): string[] {
  const { on, read, guestBytes, residentBytes, proportionalBytes, privateBytes, swapBytes, mergedBytes, shared, notes } = memory;
  if (on === 0) return ['  memory: no running members'];
  const parts = [
    `${known(proportionalBytes)} proportional${read < on && read > 0 ? ` (of ${read})` : ''}`,
    `${known(residentBytes)} resident`,
    ...((swapBytes ?? 0) > 0 ? [`${known(swapBytes)} swapped`] : []),
    ...(mergedBytes === null ? [] : [`${mergedBytes === 0 ? 'nothing' : bytes(mergedBytes)} merged by KSM`]),
  ];
  return [
    `  memory: ${plural(on, 'guest')} with ${bytes(guestBytes)} assigned; ${parts.join(', ')}`,
    ...(shared === null
      ? []
      : [
          `  shared: ${plural(shared.clones, 'clone')} of the same ${bytes(shared.sharedBytes)}, with ${known(privateBytes)} of their own; copies of it would take ${bytes(shared.copiesBytes)}`,
        ]),
    ...notes.map((note) => `  ! ${note}`),
  ];
}

function known(count: number | null | undefined): string {
  return count === null || count === undefined ? '-' : bytes(count);
}

export function renderFleets(fleets: readonly FleetSummary[], root: string, view: TableView = {}): string {
  if (fleets.length === 0 && view.output !== 'csv')
    return `No fleets in ${root}. Create one: cowherd spawn lab --base golden.qcow2 --count 10`;
  const { fleet, members, base, overlays, state } = fleetFields;
  return renderRows(fleets, Object.values(fleetFields), [fleet, members, base, overlays, state], view);
}

export function renderWatchFrame(status: FleetStatus, rows: number, view: TableView = {}): string {
  const lines = renderStatus(status, view).split('\n');
  const room = Math.max(5, rows - 2);
  return lines.length <= room ? lines.join('\n') : [...lines.slice(0, room), `… ${plural(lines.length - room, 'more line')}`].join('\n');
}
