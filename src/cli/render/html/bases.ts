import { formatIndexes } from '../../../core/fleet/selection/selection.js';
import { formatBaseRef } from '../../../core/image/base.js';
import type { HistoryNode } from '../../../core/image/base-history.js';
import { formatUtc } from '../../../core/lock.js';
import type { ReportPage } from '../../../services/fleet/status/page.js';
import { bytes, plural } from '../../terminal/format.js';
import { type Html, html, type Part } from './markup.js';
import { groupBy, type MemberRow } from './rows.js';

/** A nested list: images promoted from an image are below it. */
export function lineage({ lineage: images, bases }: Pick<ReportPage, 'lineage' | 'bases'>, rows: readonly MemberRow[]): Html {
  const outdated = groupBy(
    rows.filter(({ isOutdated }) => isOutdated),
    ({ base }) => base,
  );
  const list = (nodes: readonly HistoryNode[]): Part =>
    nodes.length === 0 ? '' : html`<ul class="tree">${nodes.map((node) => html`<li>${about(node)}${list(node.promotedTo)}</li>\n`)}</ul>`;
  const about = (node: HistoryNode): Html => {
    const ref = formatBaseRef(node);
    const facts = [originOf(node), ...factsOf(bases.get(ref)), ...outdatedOf(outdated.get(ref))];
    const problems = bases.get(ref)?.problems ?? [];
    return html`<code>${ref}</code><ul class="facts">${facts.map((fact) => html`<li>${fact}</li>`)}${problems.map((problem) => html`<li class="problem">Changed: ${problem}</li>`)}</ul>`;
  };
  return html`<section id="bases"><h2>Base images</h2>
${images.length === 0 ? html`<p>There are no base images.</p>` : list(images)}
</section>
`;
}

function originOf({ importedAt, from, layered }: HistoryNode): string {
  if (from === null || importedAt === null) return 'Removed; known from the images promoted from it';
  const when = formatUtc(importedAt);
  if ('file' in from) return `Imported ${when} from ${from.file}`;
  return `Promoted ${when} from ${from.member}, which was on ${formatBaseRef(from.base)}; ${layered ? 'layered' : 'flattened'}`;
}

function factsOf(base: ReturnType<ReportPage['bases']['get']>): string[] {
  if (base === undefined) return [];
  const { allocatedBytes, virtualBytes, layers, memory, fleets } = base;
  return [
    `${bytes(allocatedBytes)} on disk, ${bytes(virtualBytes)} for the guest`,
    ...(layers.length === 0 ? [] : [`Layered on ${layers.join(', on ')}`]),
    ...(memory === null
      ? []
      : [`With ${bytes(memory.allocatedBytes)} of memory of ${memory.domain}, ${memory.shared ? 'shared' : 'copied'} by its clones`]),
    fleets.length === 0 ? 'Used by no fleet' : `Used by ${fleets.join(', ')}`,
  ];
}

function outdatedOf(rows: readonly MemberRow[] = []): string[] {
  const fleets = groupBy(rows, ({ fleet }) => fleet);
  return [...fleets].map(([fleet, members]) => {
    const indexes = formatIndexes(members.flatMap(({ index }) => index ?? []));
    return `${plural(members.length, 'outdated member')} of ${fleet}: ${indexes}`;
  });
}
