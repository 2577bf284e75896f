import type { BaseRef } from '../spec/spec.js';
import { parseBaseRef } from './base.js';
import { baseKey, type LoneBase } from './base-chain.js';

/** One image in the history tree. */
export interface HistoryNode extends BaseRef {
  /** Null if it was removed and is known only from its descendants. */
  importedAt: string | null;
  /** The file it was imported from, or the member it was promoted from. */
  from: { file: string } | { fleet: string; member: string; base: BaseRef } | null;
  /** Whether its file is based on its parent image. */
  layered: boolean;
  promotedTo: HistoryNode[];
}

/** The history of promoted images as trees. Oldest first; removed images appear if others name them. */
export function baseHistory(bases: readonly LoneBase[]): HistoryNode[] {
  const nodes = new Map<string, HistoryNode>();
  const gone = ({ name, digest }: BaseRef): HistoryNode => ({ name, digest, importedAt: null, from: null, layered: false, promotedTo: [] });
  for (const { name, digest, importedAt, source, parent, promotedFrom } of bases) {
    const from = promotedFrom ?? { file: source.path };
    nodes.set(baseKey({ name, digest }), { name, digest, importedAt, from, layered: parent !== undefined, promotedTo: [] });
  }
  const roots = new Set(nodes.values());
  for (const base of [...nodes.values()]) {
    const origin = base.from !== null && 'base' in base.from ? base.from.base : undefined;
    if (origin === undefined) continue;
    const parent = nodes.get(baseKey(origin)) ?? gone(origin);
    // Cyclic records would leave the tree without a root.
    if (isAbove(base, parent)) continue;
    if (!nodes.has(baseKey(origin))) roots.add(parent);
    nodes.set(baseKey(origin), parent);
    parent.promotedTo.push(base);
    roots.delete(base);
  }
  const byAge = (a: HistoryNode, b: HistoryNode): number => (a.importedAt ?? '').localeCompare(b.importedAt ?? '');
  for (const node of nodes.values()) node.promotedTo.sort(byAge);
  return [...roots].sort(byAge);
}

/** The trees that contain an image. @param ref `name`, `name@digest12` or a digest */
export function historyOf(roots: readonly HistoryNode[], ref: string): HistoryNode[] {
  const { name, digest } = parseBaseRef(ref);
  const isMeant = (node: HistoryNode): boolean => (name === undefined || node.name === name) && node.digest.startsWith(digest);
  const holds = (node: HistoryNode): boolean => isMeant(node) || node.promotedTo.some(holds);
  return roots.filter(holds);
}

function isAbove(above: HistoryNode, node: HistoryNode): boolean {
  return above === node || above.promotedTo.some((child) => isAbove(child, node));
}
