import { createHash } from 'node:crypto';
import { formatUtc } from '../../../core/lock.js';
import { type PageParts, pageBegin, type ReportPage } from '../../../services/fleet/status/page.js';
import { lineage } from './bases.js';
import { drift } from './drift.js';
import { histories } from './history.js';
import { html, ownText } from './markup.js';
import { memberTable } from './members.js';
import { memberRows } from './rows.js';
import { fleetTable, totals } from './totals.js';

const sections = { totals: 'Totals', fleets: 'Fleets', drift: 'Drift', members: 'Members', bases: 'Base images', history: 'History' };

/** The report as one HTML file. It loads nothing, and only its own script may run. */
export function renderReportPage(page: ReportPage, { style, script }: PageParts): string {
  const { host, uri, store, time, report, statuses, notes } = page;
  const rows = memberRows(page);
  const digest = createHash('sha256').update(script).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${digest}'; img-src data:; base-uri 'none'; form-action 'none'`;
  const { text } = html`<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>cowherd report: ${host}, ${formatUtc(time)}</title>
<style>${ownText(style)}</style></head>
<body><header><h1>cowherd report: ${host}</h1>
<p><time datetime="${time}">${formatUtc(time)}</time> · <code>${uri}</code> · store <code>${store}</code></p>
<nav aria-label="Sections">${Object.entries(sections).map(([id, name]) => html`<a href="#${id}">${name}</a> `)}</nav></header>
<main>${notes.length === 0 ? '' : html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
${totals(report, statuses)}${fleetTable(report, statuses)}${drift(rows)}${memberTable(rows)}${lineage(page, rows)}${histories(page.histories)}</main>
<script>${ownText(script)}</script></body></html>
`;
  return pageBegin + text;
}
