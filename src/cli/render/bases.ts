import { formatBaseRef } from '../../core/image/base.js';
import type { HistoryNode } from '../../core/image/base-history.js';
import type { HygieneWarning } from '../../core/image/hygiene.js';
import type { BaseListing } from '../../services/base/bases.js';
import type { BaseHistory } from '../../services/base/history.js';
import type { Promotion } from '../../services/base/promote.js';
import type { PruneResult } from '../../services/base/prune.js';
import type { Relocation } from '../../services/base/relocate.js';
import { bytes, countsLine, plural, seconds, table } from '../terminal/format.js';
import { hang, page, widthOf } from '../terminal/layout.js';
import { renderFailures } from './failures.js';

export function renderBases(bases: readonly BaseListing[], damaged: ReadonlyArray<{ path: string; reason: string }>): string {
  const lines = [
    bases.length === 0
      ? 'No base images in the store. Add one: cowherd base add golden.qcow2'
      : table<BaseListing>(bases, [
          { title: 'BASE', value: (base) => base.ref },
          { title: 'FORMAT', value: (base) => base.format },
          // Only if an image has layers.
          ...(bases.some((base) => base.depth > 1)
            ? [{ title: 'DEPTH', value: (base: BaseListing) => String(base.depth), align: 'right' as const }]
            : []),
          { title: 'ON DISK', value: (base) => bytes(base.allocatedBytes), align: 'right' },
          ...(bases.some((base) => base.memory !== null)
            ? [
                {
                  title: 'MEMORY',
                  value: (base: BaseListing) => (base.memory === null ? '-' : bytes(base.memory.allocatedBytes)),
                  align: 'right' as const,
                },
              ]
            : []),
          { title: 'VIRTUAL', value: (base) => bytes(base.virtualBytes), align: 'right' },
          { title: 'IMPORTED', value: (base) => minute(base.importedAt) },
          { title: 'FLEETS', value: (base) => base.fleets.join(', ') || '-' },
          {
            title: 'STATE',
            value: (base) => (base.problems.length === 0 ? 'sealed' : `CHANGED: ${base.problems.join(', ')}`),
          },
        ]),
  ];
  for (const { path, reason } of damaged) lines.push(page(`! ${path}: ${reason}`));
  return lines.join('\n');
}

export function renderBase(base: BaseListing & { source?: string; generalisation?: HygieneWarning[] }): string {
  const rows: Array<[string, string]> = [
    ['base', base.ref],
    [base.hash, base.digest],
    ['file', base.path],
    ['format', base.format],
    ['on disk', bytes(base.allocatedBytes)],
    ...(base.depth === 1 ? [] : [['depth', `${base.depth}, on ${base.layers.join(', on ')}`] as [string, string]]),
    ['virtual', bytes(base.virtualBytes)],
    ['imported', base.importedAt],
    ...(base.memory === null
      ? []
      : [
          ['memory', `${bytes(base.memory.allocatedBytes)}, of ${base.memory.domain}, frozen ${base.memory.takenAt}`] as [string, string],
          ['clones', sharingText(base.memory)] as [string, string],
        ]),
    ...(base.promotedFrom === null
      ? []
      : [['promoted', `from ${base.promotedFrom.member}, on ${base.promotedFrom.base}`] as [string, string]]),
    ...(base.source === undefined ? [] : [['from', base.source] as [string, string]]),
    ['fleets', base.fleets.join(', ') || 'none'],
    ['state', base.problems.length === 0 ? 'as imported' : `CHANGED: ${base.problems.join(', ')}`],
  ];
  const width = widthOf(process.stdout);
  const told = rows.map(([key, value]) => (width === undefined ? `${key.padEnd(10)}${value}` : hang(key.padEnd(10), value, width)));
  return [...told, ...warningLines(base.generalisation ?? []).map((line) => page(line))].join('\n');
}

function sharingText({ shared, reason }: NonNullable<BaseListing['memory']>): string {
  if (shared) return 'share this memory';
  return `copy this memory${reason === null ? '' : `: ${reason}`}`;
}

function warningLines(warnings: readonly HygieneWarning[]): string[] {
  return warnings.flatMap(({ what, hint }) => [`! ${what}`, `  → ${hint}`]);
}

export function renderPromotion(promotion: Promotion): string {
  const how = promotion.how === 'already there' ? 'Already in the store.' : `Promoted (${promotion.how}).`;
  return `${renderBase(promotion)}\n${page(`${how} To use it: cowherd spawn NAME --base ${promotion.name} --count 10`)}`;
}

export function renderPrune({ dryRun, images, freedBytes, kept }: PruneResult): string {
  if (images.length === 0) return kept === 0 ? 'No base images in the store.' : `Nothing to remove; ${plural(kept, 'base image')} kept.`;
  const rows = table<PruneResult['images'][number]>(images, [
    { title: dryRun ? 'WOULD REMOVE' : 'REMOVED', value: (image) => image.ref },
    { title: 'ON DISK', value: (image) => bytes(image.allocatedBytes), align: 'right' },
    { title: 'IMPORTED', value: (image) => minute(image.importedAt) },
  ]);
  const sum = `${plural(images.length, 'base image')}, ${bytes(freedBytes)}; ${kept} kept.`;
  return `${rows}\n${page(dryRun ? `${sum} Nothing was removed. To remove them, add --yes.` : sum)}`;
}

/** A tree: images promoted from an image are listed below it. */
export function renderHistory({ images, damaged }: BaseHistory): string {
  const lines =
    images.length === 0
      ? ['No base images in the store. Add one: cowherd base add golden.qcow2']
      : images.flatMap((node) => treeLines(node));
  for (const { path, reason } of damaged) lines.push(`! ${path}: ${reason}`);
  return page(lines.join('\n'));
}

function treeLines(node: HistoryNode): string[] {
  const last = node.promotedTo.length - 1;
  const below = node.promotedTo.flatMap((child, position) =>
    treeLines(child).map((line, row) => `${row > 0 ? (position === last ? '   ' : '│  ') : position === last ? '└─ ' : '├─ '}${line}`),
  );
  return [`${formatBaseRef(node)}  ${originOf(node)}`, ...below];
}

function originOf({ importedAt, from, layered }: HistoryNode): string {
  if (from === null || importedAt === null) return 'removed';
  if ('file' in from) return `${minute(importedAt)}  imported from ${from.file}`;
  return `${minute(importedAt)}  promoted from ${from.member}, ${layered ? 'layered' : 'flattened'}`;
}

function minute(time: string): string {
  return time.slice(0, 16).replace('T', ' ');
}

/** Members without a failure are only counted. */
export function renderRelocation({ resealed, members, counts, seconds: took, interrupted }: Relocation): string {
  const lines = resealed.map((ref) => `${ref}: a different file with the same content; sealed again`);
  lines.push(...renderFailures(members.filter(({ error }) => error !== undefined)));
  lines.push(`${plural(members.length, 'member')} in ${seconds(took)}: ${countsLine(counts, { unchanged: 'already correct' })}`);
  if (interrupted) lines.push('Interrupted. Completed members are kept; run the same command again for the rest.');
  return page(lines.join('\n'));
}
