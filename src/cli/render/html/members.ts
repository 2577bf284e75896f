import { bytes, plural } from '../../terminal/format.js';
import { type Html, html, type Part } from './markup.js';
import type { MemberRow } from './rows.js';

const columns = ['Fleet', 'Member', 'State', 'Drift', 'Overlay', 'Memory', 'Base image', 'Problems'];
const sizes = new Set(['Drift', 'Overlay', 'Memory']);

/** The script makes buttons of its headers, and shows the filter. */
export function memberTable(rows: readonly MemberRow[]): Html {
  if (rows.length === 0) return html`<section id="members"><h2>Members</h2><p>There are no members.</p></section>`;
  return html`<section id="members"><h2>Members</h2>
<p id="tools" class="tools" hidden><label for="filter">Filter</label> <input id="filter" type="search" autocomplete="off" spellcheck="false" placeholder="words, such as off or lab-01"> <output id="count" for="filter">${plural(rows.length, 'member')}</output></p>
<div class="scroll" role="region" aria-label="Members" tabindex="0"><table id="member-table">
<thead><tr>${columns.map((name) => html`<th scope="col"${sizes.has(name) ? html` class="n"` : ''}>${name}</th>`)}</tr></thead>
<tbody>
${rows.map(
  (
    row,
  ) => html`<tr${row.isBroken ? html` class="bad"` : ''}><td>${row.fleet}</td><th scope="row">${row.name}</th><td>${row.state}</td>${size(row.driftBytes)}${size(row.overlayBytes)}${size(row.memoryBytes)}<td>${base(row)}</td><td>${row.problems.join('; ')}</td></tr>
`,
)}</tbody></table></div>
</section>
`;
}

/** data-v: the value to sort by. */
function size(count: number | null): Html {
  return count === null ? html`<td class="n" data-v="">-</td>` : html`<td class="n" data-v="${count}">${bytes(count)}</td>`;
}

function base({ base: ref, isOutdated }: MemberRow): Part {
  return isOutdated ? `${ref} (outdated)` : ref;
}
