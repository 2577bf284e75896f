import type { EstimateReport, FleetEstimate } from '../../core/fleet/estimate.js';
import { shortDigest } from '../../core/image/base.js';
import { csvField } from '../../core/quoting.js';
import { bytes, plural, table } from '../terminal/format.js';
import { page } from '../terminal/layout.js';

/** Savings of fleets on a platform that does not report the sizes of its overlays. Every figure is labeled as an estimate. */

const why =
  'Estimated: the cloud does not report how much its overlays use. A full copy counts as one base image per member, a shared one as one base image per host with members. What the guests have written is not known and not included.';

const noHosts = 'For fleets with unknown hosts, nothing counts as shared.';

export function renderEstimate({ fleets, failed, total }: EstimateReport): string {
  if (fleets.length === 0 && failed.length === 0) return 'Nothing to report: no fleets in the store.';
  const lines = [
    table(fleets, [
      { title: 'FLEET', value: (row) => row.fleet },
      { title: 'MEMBERS', value: (row) => String(row.members), align: 'right' },
      { title: 'BASE', value: (row) => shortDigest(row.base.digest) },
      { title: 'HOSTS', value: (row) => (row.hosts === null ? '-' : String(row.hosts)), align: 'right' },
      { title: 'FULL COPIES (EST.)', value: (row) => about(row.fullCopies.bytes), align: 'right' },
      { title: 'SHARED (EST.)', value: (row) => about(row.shared.bytes), align: 'right' },
      { title: 'SAVED (EST.)', value: (row) => `~${row.saved.percent} %`, align: 'right' },
    ]),
    '',
    page(
      `Total: ${plural(total.members, 'member')}. Saved: about ${bytes(total.saved.bytes)}, ~${total.saved.percent} % of what full copies would take.`,
    ),
    page(fleets.some(isUnknown) ? `${why} ${noHosts}` : why),
  ];
  for (const { fleet, error } of failed) lines.push(page(`! ${fleet} is not included: ${error.message}`));
  return lines.join('\n');
}

function isUnknown({ hosts }: FleetEstimate): boolean {
  return hosts === null;
}

function about(count: number): string {
  return `~${bytes(count)}`;
}

const columns: ReadonlyArray<[string, (fleet: FleetEstimate) => string | number]> = [
  ['fleet', ({ fleet }) => fleet],
  ['members', ({ members }) => members],
  ['hosts', ({ hosts }) => hosts ?? ''],
  ['base_bytes', ({ base }) => base.bytes],
  ['estimated_full_copies_bytes', ({ fullCopies }) => fullCopies.bytes],
  ['estimated_shared_bytes', ({ shared }) => shared.bytes],
  ['estimated_saved_bytes', ({ saved }) => saved.bytes],
];

/** One line per fleet: figures per member are not known. */
export function estimateCsv({ fleets }: EstimateReport): string {
  const rows = fleets.map((fleet) => columns.map(([, value]) => csvField(value(fleet))).join(','));
  return [columns.map(([name]) => name).join(','), ...rows].join('\n');
}
