import type { StoreReport } from '../../../services/fleet/status/report.js';
import type { FleetStatus } from '../../../services/fleet/status/status.js';
import { bytes, countsLine, plural } from '../../terminal/format.js';
import { stateWords } from '../status-fields.js';
import { type Bar, barTable } from './charts.js';
import { type Html, html } from './markup.js';

const heads = { label: 'What', value: 'Size' };

/** Full copies and actual use, of disk and memory. */
export function totals(report: StoreReport, statuses: readonly FleetStatus[]): Html {
  const { total, disk } = report;
  const { saved } = total;
  return html`<section id="totals"><h2>Totals</h2>
<p class="lead">${plural(report.fleets.length, 'fleet')}, ${plural(total.members, 'member')} on ${plural(total.bases, 'base image')}. ${
    saved.bytes >= 0
      ? html`<strong>${bytes(saved.bytes)}</strong> saved, ${saved.percent} % of what full copies would take.`
      : html`Nothing is saved: the overlays take <strong>${bytes(-saved.bytes)}</strong> more than full copies would.`
  }</p>
<div class="pair">${barTable('Disk', diskBars(report), heads)}${report.fleets.length > 0 && statuses.length === 0 ? html`<p class="note">The use of memory is not known.</p>` : memory(statuses)}</div>
<p>The guests see ${bytes(total.fullCopies.virtualBytes)} of disk. ${bytes(disk.freeBytes)} of ${bytes(disk.totalBytes)} are free on the disk of <code>${disk.path}</code>.</p>
</section>
`;
}

function diskBars({ total }: StoreReport): Bar[] {
  const { overlays, fullCopies, baseBytes } = total;
  const bar = (label: string, value: number, more: Partial<Bar> = {}): Bar => ({ label, value, text: bytes(value), ...more });
  return [
    bar('Full copies', fullCopies.allocatedBytes),
    bar('Actual use', baseBytes + overlays.allocatedBytes),
    bar('Base images', baseBytes, { isPart: true }),
    bar('Overlays', overlays.allocatedBytes, { isPart: true }),
    bar('Drift', overlays.driftBytes, { isPart: true }),
    ...(overlays.checkpointBytes === 0 ? [] : [bar('Memory in checkpoints', overlays.checkpointBytes, { isPart: true })]),
    ...(overlays.strayBytes === 0 ? [] : [bar('Incomplete checkpoints', overlays.strayBytes, { isPart: true })]),
  ];
}

/** Only members whose use is known count, on both sides. Shared pages are counted in proportion, if the kernel shows that. */
function memory(statuses: readonly FleetStatus[]): Html {
  const running = statuses.flatMap(({ members }) => members.flatMap((member) => member.memory ?? []));
  const isProportional = running.some(({ proportionalBytes }) => proportionalBytes !== null);
  const known = running.flatMap(({ guestBytes, proportionalBytes, residentBytes }) => {
    const used = isProportional ? proportionalBytes : residentBytes;
    return used === null ? [] : [{ guestBytes, used }];
  });
  const notes = statuses.flatMap(({ fleet, memory: of }) => of?.notes.map((note) => html`<p class="note">${fleet}: ${note}</p>`) ?? []);
  if (running.length === 0) return html`<p class="note">No member is running, so none uses memory.</p>`;
  const sum = (of: 'guestBytes' | 'used'): number => known.reduce((total, one) => total + one[of], 0);
  const bars: Bar[] = [
    { label: 'Assigned', value: sum('guestBytes'), text: bytes(sum('guestBytes')) },
    { label: 'Actual use', value: sum('used'), text: bytes(sum('used')) },
  ];
  const what = isProportional
    ? 'pages that several processes share are divided among them'
    : 'resident, so shared pages count several times';
  return html`<div>${barTable('Memory', bars, heads)}
<p class="note">Of ${known.length} of ${plural(running.length, 'running member')}: the memory assigned to the guests, and that of their QEMU processes (${what}).</p>
${notes}</div>`;
}

export function fleetTable({ fleets }: StoreReport, statuses: readonly FleetStatus[]): Html {
  const counts = new Map(statuses.map((status) => [status.fleet, status.counts]));
  const stateOf = (fleet: string): string => {
    const of = counts.get(fleet);
    return of === undefined ? 'unknown' : countsLine(of, stateWords);
  };
  return html`<section id="fleets"><h2>Fleets</h2>
${
  fleets.length === 0
    ? html`<p>There are no fleets to report.</p>`
    : html`<div class="scroll" role="region" aria-label="Fleets" tabindex="0"><table>
<thead><tr><th scope="col">Fleet</th><th scope="col" class="n">Members</th><th scope="col">State</th><th scope="col" class="n">Overlays</th><th scope="col" class="n">Drift</th><th scope="col" class="n">Full copies</th><th scope="col" class="n">Saved</th></tr></thead>
<tbody>${fleets.map(
        ({ fleet, members, overlays, fullCopies, saved }) =>
          html`<tr><th scope="row">${fleet}</th><td class="n">${members}</td><td>${stateOf(fleet)}</td><td class="n">${bytes(overlays.allocatedBytes)}</td><td class="n">${bytes(overlays.driftBytes)}</td><td class="n">${bytes(fullCopies.allocatedBytes)}</td><td class="n">${saved.percent} %</td></tr>
`,
      )}</tbody></table></div>`
}
</section>
`;
}
