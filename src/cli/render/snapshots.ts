import type { SnapshotListing, SnapshotLists } from '../../services/snapshot/list.js';
import type { SnapshotOutcome } from '../../services/snapshot/verb.js';
import { bytes, duration, seconds, table } from '../terminal/format.js';
import { page } from '../terminal/layout.js';

const done = { take: 'snapshot taken:', rollback: 'rolled back to snapshot', drop: 'dropped snapshot', commit: 'committed snapshot' };

/** @param withDiff also show the changes to the XML */
export function renderSnapshotOutcome(outcome: SnapshotOutcome, withDiff: boolean): string {
  const { domain, verb, snapshot, diff, isDone, notes, wasRunning, startedAgain, snapshots } = outcome;
  const lines: string[] = withDiff ? [diff.trimEnd()] : [];
  if (!isDone) return [...lines, ...notes.map((note) => `note: ${note}`), 'Nothing was changed.'].join('\n');
  const power = startedAgain ? ', started again' : wasRunning ? ', left off' : '';
  lines.push(`${domain}: ${done[verb]} ${snapshot.number} (${snapshot.name}) in ${seconds(outcome.seconds)}${power}`);
  if (verb !== 'take') lines.push(snapshots.length === 0 ? '  no snapshots left' : `  remaining: ${snapshots.join(', ')}`);
  for (const note of notes) lines.push(page(`  note: ${note}`));
  return lines.join('\n');
}

export function renderSnapshots({ domains, damaged }: SnapshotLists): string {
  const lines = domains.map(renderDomain);
  if (lines.length === 0 && damaged.length === 0) lines.push('No snapshots. Take one: cowherd snapshot take DOMAIN');
  for (const { path, reason } of damaged) lines.push(page(`! ${path}: ${reason}`));
  return lines.join('\n\n');
}

type Row = SnapshotListing['levels'][number] & { disk: SnapshotListing['levels'][number]['disks'][number] };

function renderDomain({ domain, state, levels, unfinished, problems, notes }: SnapshotListing): string {
  const levelOf = new Map(levels.flatMap(({ number, name, disks }) => disks.map(({ overlay }) => [overlay, `${number} ${name}`] as const)));
  const rows = levels.flatMap((level) => level.disks.map((disk): Row => ({ ...level, disk })));
  const lines = [`${domain}  ${state === 'shutOff' ? 'shut off' : state}`];
  if (rows.length > 0)
    lines.push(
      table<Row>(rows, [
        { title: '  SNAPSHOT', value: ({ number, name }) => `  ${number} ${name}` },
        { title: 'TAKEN', value: ({ takenAt }) => takenAt.slice(0, 16).replace('T', ' ') },
        { title: 'AGE', value: ({ ageSeconds }) => duration(ageSeconds), align: 'right' },
        { title: 'DISK', value: ({ disk }) => disk.target },
        { title: 'SINCE', value: ({ disk }) => bytes(disk.overlayBytes), align: 'right' },
        {
          title: 'BASED ON',
          value: ({ disk, hasNvram }) =>
            `${levelOf.get(disk.backing) ?? `${disk.backing} (${disk.format})`}${hasNvram ? ', NVRAM kept' : ''}`,
        },
      ]),
    );
  const below: string[] = [];
  if (unfinished !== undefined) {
    below.push(
      `  ! ${unfinished.verb} of ${unfinished.snapshot} was interrupted (${unfinished.startedAt}); the domain boots ${unfinished.boots}`,
    );
    below.push(`  → ${unfinished.finishWith}`);
  }
  for (const problem of problems) below.push(`  ! ${problem}`);
  for (const note of notes) below.push(`  note: ${note}`);
  return [...lines, ...below.map((line) => page(line))].join('\n');
}
