import ms from 'ms';
import { CowherdError } from './errors.js';
import { limits } from './limits.js';

/** `90`, `90s`, `5m` → milliseconds. @throws BAD_USAGE */
export function parseDuration(text: string): number {
  const value = Math.round(
    /^\d+$/.test(text) ? Number(text) * 1000 : /^\d+(\.\d+)?\s*(ms|s|m|min|h)$/.test(text) ? ms(text as ms.StringValue) : Number.NaN,
  );
  if (!Number.isFinite(value) || value < limits.timeoutMs.min || value > limits.timeoutMs.max) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is not a length of time`, {
      hint: 'Write seconds, or 90s, 5m, 1h (1ms to 24h).',
    });
  }
  return value;
}
