import ms from 'ms';
import prettyBytes from 'pretty-bytes';
import { formatDuration } from '../../core/duration.js';

export { type Column, table } from './table.js';

export function bytes(count: number): string {
  return prettyBytes(count, { binary: true });
}

/** `0.4 s`, `18 s`, `3 min 20 s`. */
export function seconds(count: number): string {
  return formatDuration(count * 1000);
}

/** Like a clock: `0:33`, `12:05`, `1:02:03`. */
export function elapsed(count: number): string {
  const [hours, minutes, rest] = [Math.floor(count / 3600), Math.floor(count / 60) % 60, Math.floor(count) % 60];
  const two = (part: number): string => String(part).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export function duration(secondsAgo: number): string {
  return ms(Math.max(0, Math.round(secondsAgo)) * 1000);
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `{running: 3, broken: 1, missing: 0}` → `3 running, 1 broken`. */
export function countsLine(counts: Record<string, number>, words: Record<string, string> = {}): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  return parts.length === 0 ? 'none' : parts.map(([kind, count]) => `${count} ${words[kind] ?? kind}`).join(', ');
}
