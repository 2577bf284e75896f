import { driftLevel, driftLevelLimits } from '../../../core/fleet/drift-levels.js';
import type { MemberView, MemoryView } from '../../protocol.js';
import { bytes } from '../text/format.js';

/** Six levels of a size, for the colors of cells. */

export type Shade = 'state' | 'drift' | 'memory';

export interface Scale {
  limits: readonly number[];
  /** Null is unknown. */
  sizeOf: (member: MemberView) => number | null;
}

export function scaleOf(shade: Shade, members: readonly MemberView[], memory: MemoryView | null): Scale | null {
  if (shade === 'state') return null;
  const sizeOf = shade === 'drift' ? driftOf : ({ name }: MemberView) => memory?.members[name]?.privateBytes ?? null;
  return { limits: driftLevelLimits(members.flatMap((member) => sizeOf(member) ?? [])), sizeOf };
}

export function levelOf({ limits, sizeOf }: Scale, member: MemberView): number | null {
  const value = sizeOf(member);
  return value === null ? null : driftLevel(limits, value);
}

export interface LevelCount {
  level: number | null;
  label: string;
  count: number;
}

/** How many members each level has; the last entry is unknown. */
export function levelCounts(scale: Scale, members: readonly MemberView[]): LevelCount[] {
  const counts = new Map<number | null, number>();
  for (const member of members) {
    const level = levelOf(scale, member);
    counts.set(level, (counts.get(level) ?? 0) + 1);
  }
  const labels = [`under ${bytes(scale.limits[0] ?? 0)}`, ...scale.limits.map((limit) => `from ${bytes(limit)}`)];
  const levels = labels.map((label, level) => ({ level, label, count: counts.get(level) ?? 0 }));
  return counts.has(null) ? [...levels, { level: null, label: 'unknown', count: counts.get(null) ?? 0 }] : levels;
}

/** Whether a cell is marked, whatever its color means. */
export function isTroubled({ state, problems }: MemberView): boolean {
  return state === 'broken' || state === 'missing' || problems.length > 0;
}

function driftOf({ state, driftBytes }: MemberView): number | null {
  return state === 'missing' ? null : driftBytes;
}
