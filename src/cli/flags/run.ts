import { Flags } from '@oclif/core';
import { parseDuration } from '../../core/duration.js';
import { limits } from '../../core/limits.js';

/** Flags that several commands share. */

export const concurrencyFlags = {
  concurrency: Flags.integer({
    description: 'members worked on at the same time [default: 16; reset and stop: all]',
    ...limits.concurrency,
  }),
  'boot-concurrency': Flags.integer({ description: 'of these, how many may be starting [default: 8]', ...limits.concurrency }),
};

export const fileFlag = {
  file: Flags.string({ char: 'f', description: 'a fleet file; the verb is about all fleets in it', helpValue: 'FLEET.yaml' }),
};

export const dryRunFlag = {
  'dry-run': Flags.boolean({ char: 'n', description: 'show what would be done and what would be refused; nothing is changed' }),
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

export const lockTimeoutFlag = {
  'lock-timeout': Flags.custom<number>({
    description: 'how long to wait for what another run has locked [default: not at all; base images: 10m]',
    helpGroup: 'GLOBAL',
    helpValue: '90s|5m',
    parse: async (text) => parseDuration(text),
  })(),
};
