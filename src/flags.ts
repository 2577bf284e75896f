import { Flags } from '@oclif/core';
import { parseDuration } from './core/duration.js';

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
