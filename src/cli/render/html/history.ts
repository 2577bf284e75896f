import { countIndexes, type HistoryEntry } from '../../../core/fleet/history.js';
import { formatUtc } from '../../../core/lock.js';
import type { ReportPage } from '../../../services/fleet/status/page.js';
import { bytes, countsLine, plural, seconds } from '../../terminal/format.js';
import { lineChart } from './charts.js';
import { type Html, html } from './markup.js';

/** What commands did to each fleet, and its use of disk afterwards. */
export function histories(fleets: ReportPage['histories']): Html {
  return html`<section id="history"><h2>History</h2>
${fleets.length === 0 ? html`<p>There are no fleets.</p>` : fleets.map(({ fleet, entries }) => history(fleet, entries))}
</section>
`;
}

function history(fleet: string, entries: readonly HistoryEntry[]): Html {
  if (entries.length === 0) return html`<h3>${fleet}</h3><p>No command has been recorded yet.</p>`;
  return html`<h3>${fleet} <small>${plural(entries.length, 'command')}</small></h3>
${entries.length < 2 ? '' : line(fleet, entries)}
<div class="scroll" role="region" aria-label="History of ${fleet}" tabindex="0"><table>
<thead><tr><th scope="col">Ended</th><th scope="col">Command</th><th scope="col" class="n">Done</th><th scope="col">Failed</th><th scope="col" class="n">Took</th><th scope="col" class="n">Overlays afterwards</th></tr></thead>
<tbody>${[...entries].reverse().map(
    ({ time, startedAt, verb, done, failed, diskBytes }) =>
      html`<tr><td>${formatUtc(time)}</td><td>${verb}</td><td class="n">${countIndexes(done)}</td><td>${failures(failed)}</td><td class="n">${seconds((Date.parse(time) - Date.parse(startedAt)) / 1000)}</td><td class="n">${bytes(diskBytes)}</td></tr>
`,
  )}</tbody></table></div>
`;
}

function failures(failed: HistoryEntry['failed']): string {
  const codes: Record<string, number> = {};
  for (const code of Object.values(failed)) codes[code] = (codes[code] ?? 0) + 1;
  return countsLine(codes);
}

function line(fleet: string, entries: readonly HistoryEntry[]): Html {
  const most = entries.reduce((high, { diskBytes }) => Math.max(high, diskBytes), 0);
  const ends = [entries[0], entries.at(-1)].map((entry) => `${bytes(entry?.diskBytes ?? 0)} (${formatUtc(entry?.time ?? '')})`);
  const told = `Disk use of the overlays: from ${ends.join(' to ')}, at most ${bytes(most)}`;
  const points = entries.map(({ time, verb, diskBytes }) => ({
    x: Date.parse(time),
    y: diskBytes,
    title: `${formatUtc(time)}, after ${verb}: ${bytes(diskBytes)}`,
  }));
  return html`<figure>${lineChart(`${fleet}. ${told}`, points)}<figcaption>${told}. The line begins at 0 at the bottom.</figcaption></figure>`;
}
