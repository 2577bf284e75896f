import { z } from 'zod';
import { formatIndexes } from './selection/selection.js';

/** history.jsonl: one line per command that changed members of the fleet. */

const entrySchema = z.object({
  /** When it ended. */
  time: z.iso.datetime(),
  startedAt: z.iso.datetime(),
  id: z.string().max(64),
  verb: z.string().max(40),
  /** Indexes of the members that it finished, e.g. `1-10,17`. */
  done: z.string().max(8_000),
  /** Error codes of the others, by index. */
  failed: z.record(z.string().regex(/^\d{1,7}$/), z.string().regex(/^[A-Z_]{1,40}$/)),
  /** Bytes on disk of the fleet's overlays afterwards. */
  diskBytes: z.number().int().nonnegative(),
});
export type HistoryEntry = z.infer<typeof entrySchema>;

/** A command that has ended. */
export interface EndedRun {
  id: string;
  verb: string;
  /** ISO date. */
  startedAt: string;
  /** Indexes of the members that it finished. */
  done: ReadonlySet<number>;
  /** Error codes of those that failed, by index. */
  failed: ReadonlyMap<number, string>;
}

/** @param now ISO date */
export function historyEntry(
  { id, verb, startedAt, done, failed }: EndedRun,
  { now, diskBytes }: { now: string; diskBytes: number },
): HistoryEntry {
  const others = [...failed].filter(([index]) => !done.has(index)).map(([index, code]) => [String(index), code]);
  return { time: now, startedAt, id, verb, done: formatIndexes([...done]), failed: Object.fromEntries(others), diskBytes };
}

/** Skips lines that are damaged, and earlier ones of the same operation: a run that was killed at its end is ended again. */
export function parseHistory(text: string): HistoryEntry[] {
  const byId = new Map<string, HistoryEntry>();
  for (const line of text.split('\n').slice(0, -1)) {
    const parsed = entrySchema.safeParse(jsonIn(line));
    if (!parsed.success) continue;
    byId.delete(parsed.data.id);
    byId.set(parsed.data.id, parsed.data);
  }
  return [...byId.values()];
}

function jsonIn(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** The ranges in `1-3,7`. They are not expanded: a damaged text may name millions. */
function rangesIn(text: string): Array<{ from: number; to: number }> {
  return [...text.matchAll(/(\d{1,7})(?:-(\d{1,7}))?/g)].map(([, from, to = from]) => ({ from: Number(from), to: Number(to) }));
}

/** How many indexes `1-3,7` has. */
export function countIndexes(text: string): number {
  return rangesIn(text).reduce((sum, { from, to }) => sum + Math.max(0, to - from + 1), 0);
}

/** @returns a predicate for the indexes in `1-3,7` */
export function indexesIn(text: string): (index: number) => boolean {
  const ranges = rangesIn(text);
  return (index) => ranges.some(({ from, to }) => from <= index && index <= to);
}
