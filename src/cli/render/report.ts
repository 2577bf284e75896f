import { driftHistogram, type FleetReport, type Savings } from '../../core/fleet/savings.js';
import { shortDigest } from '../../core/image/base.js';
import { csvField } from '../../core/quoting.js';
import type { DiskReport, StoreReport } from '../../services/fleet/status/report.js';
import { bytes, plural, table } from '../terminal/format.js';
import { hang, page, widthOf } from '../terminal/layout.js';

const longestBar = 40;
/** Columns for the label, the size and the text next to the bar. */
const besideBar = 60;
const shownMembers = 5;

export function renderReport(report: FleetReport): string {
  const { fleet, members, base, bases, overlays, fullCopies, saved, perMember, seedBytes, sharedMemory } = report;
  const used = bases.allocatedBytes + overlays.allocatedBytes;
  const others = bases.allocatedBytes > base.allocatedBytes;
  const lines = [
    `${fleet}: ${plural(members, 'member')} on ${shortDigest(base.digest)}`,
    '',
    bar(
      'full copies',
      fullCopies.allocatedBytes,
      fullCopies.allocatedBytes,
      `${plural(members, 'sparse copy').replace('copys', 'copies')} of the base${others ? ' images' : ''}`,
    ),
    bar(
      'cowherd',
      used,
      fullCopies.allocatedBytes,
      `${others ? 'base images' : 'base'} ${bytes(bases.allocatedBytes)} + overlays ${bytes(overlays.allocatedBytes)}`,
    ),
    bar('  drift', overlays.driftBytes, fullCopies.allocatedBytes, 'written by guests since the last reset or spawn'),
    ...(overlays.checkpointBytes === 0
      ? []
      : [bar('  memory', overlays.checkpointBytes, fullCopies.allocatedBytes, 'guest memory in checkpoints, for warm resets')]),
    ...(overlays.strayBytes === 0
      ? []
      : [bar('  incomplete', overlays.strayBytes, fullCopies.allocatedBytes, 'incomplete checkpoints: cowherd verify --fix removes them')]),
    '',
    page(savedLine(saved)),
    ...(saved.bytes < 0 && overlays.checkpointBytes > 0
      ? [page('To free the space of the checkpoints: cowherd checkpoint FLEET --drop')]
      : []),
    `The guests see ${bytes(fullCopies.virtualBytes)} of disk.`,
    ...(sharedMemory === null
      ? []
      : [
          page(
            `${plural(sharedMemory.clones, 'clone')} share ${bytes(sharedMemory.sharedBytes)} of memory; copies would take ${bytes(sharedMemory.copiesBytes)}.`,
          ),
        ]),
    ...(seedBytes === 0 ? [] : [page(`Not included: ${bytes(seedBytes)} of cloud-init seeds, which full copies would need too.`)]),
  ];
  if (perMember.length > 0) {
    lines.push('', 'Drift per member', ...histogram(perMember.map((member) => member.driftBytes)));
    lines.push(
      '',
      table(perMember.slice(0, shownMembers), [
        { title: 'LARGEST', value: (member) => member.name },
        { title: 'OVERLAY', value: (member) => bytes(member.allocatedBytes), align: 'right' },
        { title: 'DRIFT', value: (member) => bytes(member.driftBytes), align: 'right' },
      ]),
    );
    if (perMember.length > shownMembers) lines.push(`… and ${perMember.length - shownMembers} more: see --json or --csv`);
  }
  return lines.join('\n');
}

function savedLine(saved: Savings['saved']): string {
  if (saved.bytes >= 0) return `Saved: ${bytes(saved.bytes)}, ${saved.percent} % of what full copies would take.`;
  return `Nothing saved: the overlays take ${bytes(-saved.bytes)} more than full copies would. To free that space, reset the fleet.`;
}

export function renderStoreReport({ fleets, total, failed, disk }: StoreReport): string {
  if (fleets.length === 0 && failed.length === 0) return 'Nothing to report: no fleets in the store.';
  const rows = fleets.map((report) => ({ ...report, baseName: shortDigest(report.base.digest) }));
  const lines = [
    table(rows, [
      { title: 'FLEET', value: (row) => row.fleet },
      { title: 'MEMBERS', value: (row) => String(row.members), align: 'right' },
      { title: 'BASE', value: (row) => row.baseName },
      { title: 'OVERLAYS', value: (row) => bytes(row.overlays.allocatedBytes), align: 'right' },
      { title: 'DRIFT', value: (row) => bytes(row.overlays.driftBytes), align: 'right' },
      { title: 'FULL COPIES', value: (row) => bytes(row.fullCopies.allocatedBytes), align: 'right' },
      { title: 'SAVED', value: (row) => `${row.saved.percent} %`, align: 'right' },
    ]),
    '',
    page(
      `Total: ${plural(total.members, 'member')} on ${plural(total.bases, 'base image')} (${bytes(total.baseBytes)}, each counted once). ${savedLine(total.saved)}`,
    ),
  ];
  lines.push(renderDisk(disk));
  for (const { fleet, error } of failed) lines.push(page(`! ${fleet} is not included: ${error.message}`));
  return lines.join('\n');
}

/** With less free space than this, guests may soon be paused. */
const scarce = { share: 0.05, bytes: 1024 ** 3 };

export function renderDisk({ path, totalBytes, freeBytes }: DiskReport): string {
  const left = `${bytes(freeBytes)} of ${bytes(totalBytes)} free on the disk of ${path}.`;
  if (freeBytes >= scarce.bytes && freeBytes >= totalBytes * scarce.share) return page(left);
  return page(`! Only ${left} A full disk pauses guests. Free some space, then resume them with "cowherd start FLEET".`);
}

export function reportCsv(reports: readonly FleetReport[]): string {
  const rows = reports.flatMap(({ fleet, perMember }) =>
    perMember.map(({ name, allocatedBytes, driftBytes }) => [fleet, name, allocatedBytes, driftBytes].map(csvField).join(',')),
  );
  return ['fleet,member,allocated_bytes,drift_bytes', ...rows].join('\n');
}

function bar(label: string, value: number, whole: number, text: string): string {
  const columns = widthOf(process.stdout);
  const longest = barWidth(columns);
  const filled = whole === 0 ? 0 : Math.min(longest, Math.ceil((value / whole) * longest));
  const begin = `${label.padEnd(12)} ${'█'.repeat(filled).padEnd(longest, '░')} ${bytes(value).padStart(10)}  `;
  return columns === undefined ? `${begin}${text}` : hang(begin, text, columns);
}

function barWidth(columns: number | undefined): number {
  return columns === undefined ? longestBar : Math.max(10, Math.min(longestBar, columns - besideBar));
}

function histogram(drifts: readonly number[]): string[] {
  const bins = driftHistogram(drifts);
  const most = Math.max(...bins.map((bin) => bin.count), 1);
  const label = (bin: { fromBytes: number; toBytes: number }): string =>
    bin.fromBytes === 0 ? `under ${bytes(bin.toBytes)}` : `${bytes(bin.fromBytes)} to ${bytes(bin.toBytes)}`;
  return bins.map(
    (bin) => `  ${label(bin).padStart(20)} ${'█'.repeat(Math.ceil((bin.count / most) * barWidth(widthOf(process.stdout))))} ${bin.count}`,
  );
}
