import { escapeUnsafe } from '../../core/guest/text.js';
import { formatBaseRef, shortDigest } from '../../core/image/base.js';
import type { HistoryNode } from '../../core/image/base-history.js';
import type { HygieneWarning } from '../../core/image/hygiene.js';
import { formatDefaults } from '../../core/image/image-defaults.js';
import type { Voucher } from '../../core/image/origin.js';
import type { BaseListing } from '../../services/base/bases.js';
import type { BaseHistory } from '../../services/base/history.js';
import type { Promotion } from '../../services/base/promote.js';
import type { PruneResult } from '../../services/base/prune.js';
import type { PullResult } from '../../services/base/pull/pull.js';
import type { Update } from '../../services/base/pull/update.js';
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
    // Only if it is inspected: other results stay short.
    ...(base.source === undefined ? [] : contentsRows(base)),
    ...(base.source === undefined || base.pulled !== null ? [] : [['from', base.source] as [string, string]]),
    ...pulledRows(base.pulled),
    ...(base.prepared === null
      ? []
      : [
          ['prepared', `recipe ${shortDigest(base.prepared.recipe)}${base.prepared.generalized ? ', generalized' : ''}`] as [
            string,
            string,
          ],
        ]),
    ['fleets', base.fleets.join(', ') || 'none'],
    ['state', base.problems.length === 0 ? 'as imported' : `CHANGED: ${base.problems.join(', ')}`],
  ];
  const width = widthOf(process.stdout);
  const indent = Math.max(8, ...rows.map(([key]) => key.length)) + 2;
  const told = rows.map(([key, value]) => (width === undefined ? `${key.padEnd(indent)}${value}` : hang(key.padEnd(indent), value, width)));
  return [...told, ...warningLines(base.generalisation ?? []).map((line) => page(line))].join('\n');
}

function pulledRows(pulled: BaseListing['pulled']): Array<[string, string]> {
  if (pulled === null) return [];
  const { url, catalog, unpacked, verifiedBy, list, key } = pulled;
  return [
    ['pulled', `${catalog === undefined ? '' : `${catalog}, `}${url}`],
    ...(unpacked.length === 0 ? [] : [['unpacked', unpacked.join(', ')] as [string, string]]),
    ['verified', `${voucherWords[verifiedBy]}${list === undefined ? '' : ` ${list}`}${key === undefined ? '' : `, key ${key}`}`],
  ];
}

const voucherWords: Record<Voucher, string> = {
  'signed list': 'by a signed list of digests:',
  list: 'by a list of digests, whose signature was not checked:',
  'given digest': 'by a given digest',
  nothing: 'no: nothing vouches for it',
};

/** Only of what could be found out. @param base its texts are from the image, and printable */
function contentsRows({ contents: { os, cloudInit, agent, firmware }, defaults }: BaseListing): Array<[string, string]> {
  const parts = [...(cloudInit === true ? ['cloud-init'] : []), ...(agent === true ? ['guest agent'] : [])];
  const isKnown = cloudInit !== null || agent !== null;
  const chosen = formatDefaults(Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== null)));
  return [
    ...(os === null
      ? []
      : [['os', escapeUnsafe(os.name ?? [os.id, os.version].filter((word) => word !== null).join(' '))] as [string, string]]),
    ...(isKnown ? [['contains', parts.join(', ') || 'neither cloud-init nor a guest agent'] as [string, string]] : []),
    ...(firmware === null ? [] : [['boots with', firmware === 'both' ? 'bios, uefi' : firmware] as [string, string]]),
    ...(chosen === '' ? [] : [['defaults', chosen] as [string, string]]),
  ];
}

function sharingText({ shared, reason }: NonNullable<BaseListing['memory']>): string {
  if (shared) return 'share this memory';
  return `copy this memory${reason === null ? '' : `: ${reason}`}`;
}

function warningLines(warnings: readonly HygieneWarning[]): string[] {
  return warnings.flatMap(({ what, hint }) => [`! ${what}`, `  → ${hint}`]);
}

export function renderPull(result: PullResult): string {
  const how = result.how === 'already there' ? 'Already in the store; nothing was downloaded.' : `Pulled (${result.how}).`;
  return `${renderBase(result)}\n${page(`${how} To use it: cowherd spawn NAME --base ${result.name} --count 10`)}`;
}

export function renderUpdate(update: Update): string {
  const { isNew, previous, current, ref, name, outdated } = update;
  const isBack = current !== ref;
  const moves = outdated.map((fleet) => `cowherd rebase ${fleet} --base ${isBack ? ref : name}`);
  const old =
    outdated.length === 0
      ? ''
      : ` ${outdated.join(', ')} ${outdated.length === 1 ? 'is' : 'are'} on ${isBack ? 'another' : 'an older'} one: ${moves.join('; ')}`;
  if (isBack) {
    const removal = `New fleets use ${current} until it is removed: cowherd base remove ${current}`;
    return page(`The server offers ${ref} again, which is in the store, and not ${current}.${old} ${removal}`);
  }
  if (!isNew) return page(`${ref} is the newest.${old}`);
  return `${renderBase(update)}\n${page(`Pulled (${update.how}); before: ${previous}.${old}`)}`;
}

export function renderPromotion(promotion: Promotion): string {
  const how = promotion.how === 'already there' ? 'Already in the store.' : `Promoted (${promotion.how}).`;
  return `${renderBase(promotion)}\n${page(`${how} To use it: cowherd spawn NAME --base ${promotion.name} --count 10`)}`;
}

export function renderPrune({ dryRun, images, freedBytes, kept, downloads }: PruneResult): string {
  const parts =
    downloads === undefined || downloads.files === 0
      ? undefined
      : `${plural(downloads.files, 'unfinished download')}, ${bytes(downloads.bytes)}`;
  const sums = [
    ...(images.length === 0 ? [] : [`${plural(images.length, 'base image')}, ${bytes(freedBytes)}`]),
    ...(parts === undefined ? [] : [parts]),
  ];
  if (sums.length === 0) return kept === 0 ? 'No base images in the store.' : `Nothing to remove; ${plural(kept, 'base image')} kept.`;
  const rows = table<PruneResult['images'][number]>(images, [
    { title: dryRun ? 'WOULD REMOVE' : 'REMOVED', value: (image) => image.ref },
    { title: 'ON DISK', value: (image) => bytes(image.allocatedBytes), align: 'right' },
    { title: 'IMPORTED', value: (image) => minute(image.importedAt) },
  ]);
  const sum = `${sums.join('; ')}; ${kept} kept.`;
  const text = page(dryRun ? `${sum} Nothing was removed. To remove them, add --yes.` : sum);
  return images.length === 0 ? text : `${rows}\n${text}`;
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
