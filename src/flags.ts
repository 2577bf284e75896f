import { Flags } from '@oclif/core';
import ms from 'ms';
import { CowherdError } from './core/errors.js';

/** Flags that several commands share. */

export const concurrencyFlags = {
  concurrency: Flags.integer({ description: 'members worked on at the same time [default: 16; reset: all]', min: 1, max: 256 }),
  'boot-concurrency': Flags.integer({ description: 'of these, how many may be starting [default: 8]', min: 1, max: 256 }),
};

export const fileFlag = {
  file: Flags.string({ char: 'f', description: 'a fleet file; the verb is about all fleets in it', helpValue: 'FLEET.yaml' }),
};

export const dryRunFlag = {
  'dry-run': Flags.boolean({ char: 'n', description: 'show the plan; no domain, overlay or fleet is changed' }),
};

export const waitFlags = () => ({
  wait: Flags.string({
    description: `what to wait for: running, address, agent, ssh, cloud-init (several with commas), or console=REGEX [default: running]`,
    helpValue: 'STAGE',
  }),
  ...timeoutFlag('how long to wait for readiness, all members together [default: 5m]'),
});

export const timeoutFlag = (description: string) => ({
  timeout: Flags.custom<number>({ description, helpValue: '90s|5m', parse: async (text) => parseDuration(text) })(),
});

/** `90`, `90s`, `5m` → milliseconds. @throws BAD_USAGE */
export function parseDuration(text: string): number {
  const value = /^\d+$/.test(text)
    ? Number(text) * 1000
    : /^\d+(\.\d+)?\s*(ms|s|m|min|h)$/.test(text)
      ? ms(text as ms.StringValue)
      : Number.NaN;
  if (!Number.isFinite(value) || value <= 0 || value > 24 * 3_600_000) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is not a length of time`, {
      hint: 'Write seconds, or 90s, 5m, 1h (at most 24h).',
    });
  }
  return value;
}
