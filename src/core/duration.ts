import ms from 'ms';
import { CowherdError } from './errors.js';
import { limits } from './limits.js';

/** `90`, `90s`, `5m` → milliseconds. @throws BAD_USAGE */
export function parseDuration(text: string): number {
  const value = Math.round(
    /^\d+$/.test(text) ? Number(text) * 1000 : /^\d+(\.\d+)?\s*(ms|s|m|min|h)$/.test(text) ? ms(text as ms.StringValue) : Number.NaN,
  );
  if (!Number.isFinite(value) || value < limits.timeoutMs.min || value > limits.timeoutMs.max) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is not a duration`, {
      hint: 'Write seconds, or 90s, 5m, 1h (1ms to 24h).',
    });
  }
  return value;
}

/** Milliseconds for people: `0.4 s`, `18 s`, `90 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(milliseconds: number): string {
  const tenths = Math.round(Math.max(0, milliseconds) / 100) / 10;
  if (tenths < 10) return `${tenths} s`;
  const count = Math.round(tenths);
  if (count < 120) return `${count} s`;
  if (count < 7200) return withRest(Math.floor(count / 60), 'min', count % 60, 's');
  return withRest(Math.floor(count / 3600), 'h', Math.floor((count % 3600) / 60), 'min');
}

function withRest(count: number, unit: string, rest: number, smaller: string): string {
  return rest === 0 ? `${count} ${unit}` : `${count} ${unit} ${rest} ${smaller}`;
}
