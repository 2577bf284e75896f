import { driftLevel, driftLevelLimits } from '../../../core/fleet/drift-levels.js';
import { driftHistogram } from '../../../core/fleet/savings.js';
import { bytes, plural } from '../../terminal/format.js';
import { barTable } from './charts.js';
import { type Html, html } from './markup.js';
import { groupBy, type MemberRow } from './rows.js';

/** A heat map and a histogram. Each cell shows its level as a digit, too, for print and for readers who do not see its color. */
export function drift(rows: readonly MemberRow[]): Html {
  const known = rows.flatMap(({ driftBytes }) => driftBytes ?? []);
  if (rows.length === 0) return html`<section id="drift"><h2>Drift</h2><p>There are no members.</p></section>`;
  const limits = driftLevelLimits(known);
  const bars = driftHistogram(known).map(({ fromBytes, toBytes, count }) => ({
    label: fromBytes === 0 ? `under ${bytes(toBytes)}` : `${bytes(fromBytes)} to ${bytes(toBytes)}`,
    value: count,
    text: String(count),
  }));
  return html`<section id="drift"><h2>Drift</h2>
<p>Drift is the growth of an overlay since it was fresh: what the guest has written.</p>
${legend(
  limits,
  rows.some(({ isBroken }) => isBroken),
)}
${[...groupBy(rows, ({ fleet }) => fleet)].map(([fleet, members]) => heatMap(fleet, members, limits))}
${bars.length === 0 ? '' : barTable('Members by drift', bars, { label: 'Drift', value: 'Members' })}
</section>
`;
}

function legend(limits: readonly number[], hasBroken: boolean): Html {
  const ranges = [`under ${bytes(limits[0] ?? 0)}`, ...limits.map((limit) => `from ${bytes(limit)}`)];
  return html`<ul class="legend">${ranges.map((range, level) => html`<li><span class="c l${level}" aria-hidden="true">${level}</span> ${range}</li>`)}${
    hasBroken ? html`<li><span class="c bad" aria-hidden="true">!</span> has a problem</li>` : ''
  }</ul>`;
}

function heatMap(fleet: string, members: readonly MemberRow[], limits: readonly number[]): Html {
  return html`<h3>${fleet} <small>${plural(members.length, 'member')}</small></h3>
<ul class="heat" aria-label="Drift of the members of ${fleet}">${members.map((member) => cell(member, limits))}</ul>
`;
}

function cell({ name, driftBytes, isBroken, state }: MemberRow, limits: readonly number[]): Html {
  const size = driftBytes === null ? 'drift unknown' : bytes(driftBytes);
  const told = `${name}: ${size}${isBroken ? `, ${state}` : ''}`;
  const level = driftBytes === null ? undefined : driftLevel(limits, driftBytes);
  return html`<li><span role="img" class="c ${level === undefined ? 'none' : `l${level}`}${isBroken ? ' bad' : ''}" title="${told}" aria-label="${told}">${isBroken ? '!' : (level ?? '?')}</span></li>
`;
}
