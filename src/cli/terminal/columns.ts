import type { Style } from './style.js';

/** How table columns adapt to a narrow terminal, and the styles of their values. */

export interface Yielding {
  /** Columns are omitted, the highest number first. Columns without a number always stay. */
  drop?: number;
  /** Values are shortened in the middle, down to this width. */
  shrink?: number;
}

const yielding: Record<string, Yielding> = {
  FLEET: { shrink: 12 },
  MEMBER: { shrink: 12 },
  LARGEST: { shrink: 12 },
  '  SNAPSHOT': { shrink: 16 },
  BASE: { shrink: 16 },
  FLEETS: { shrink: 12 },
  DRIFT: { drop: 1 },
  UPTIME: { drop: 2 },
  'ON DISK': { drop: 3 },
  TAKEN: { drop: 3 },
  IMPORTED: { drop: 4 },
  CHECKPOINT: { drop: 4 },
  DISK: { drop: 5 },
  OVERLAY: { drop: 5 },
  OVERLAYS: { drop: 5 },
  FORMAT: { drop: 6 },
  VIRTUAL: { drop: 7 },
};

/** @param title of the column */
export function yieldingOf(title: string): Yielding {
  return yielding[title] ?? {};
}

const styles: Array<[RegExp, Style]> = [
  [/\b(broken|missing|crashed|CHANGED)\b/, 'bad'],
  [/\b(paused|unfinished)\b/, 'doubtful'],
  [/^running$/, 'good'],
  [/^off$/, 'quiet'],
];

export function styleOf(title: string, value: string): Style | undefined {
  return title === 'STATE' ? styles.find(([pattern]) => pattern.test(value))?.[1] : undefined;
}
