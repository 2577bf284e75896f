import { Flags } from '@oclif/core';
import { parseDuration } from '../../core/duration.js';
import { limits } from '../../core/limits.js';

/** Flags shared by several commands. */

/** @param value what `[default: …]` says; commands have different defaults */
export const concurrencyFlag = (value: string) =>
  Flags.integer({ description: `number of members to process at the same time ${value}`, ...limits.concurrency });

export const bootConcurrencyFlag = (description: string) => Flags.integer({ description, ...limits.concurrency });

export const concurrencyFlags = {
  concurrency: concurrencyFlag('[default: 16]'),
  'boot-concurrency': bootConcurrencyFlag('number of members to start at the same time [default: 8]'),
};

export const fileFlag = {
  file: Flags.string({ char: 'f', description: 'fleet file; applies to all fleets in it', helpValue: 'FLEET.yaml' }),
};

export const dryRunFlag = {
  'dry-run': Flags.boolean({ char: 'n', description: 'show what would be done or refused, without changing anything' }),
};

export const waitFlags = (value = '[default: 5m]') => ({
  wait: Flags.string({
    description:
      'stages to wait for, separated by commas: running, address, agent, ssh, cloud-init, and console=REGEX, which must come last; or auto: the stage that the base image names [default: running]',
    helpValue: 'STAGE',
  }),
  ...timeoutFlag(`how long to wait until all members are ready ${value}`),
});

export const timeoutFlag = (description: string) => ({
  timeout: Flags.custom<number>({ description, helpValue: '90s|5m', parse: async (text) => parseDuration(text) })(),
});

export const lockTimeoutFlag = {
  'lock-timeout': Flags.custom<number>({
    description: 'how long to wait for a lock held by another run [default: fail at once; base images: 10m]',
    helpGroup: 'GLOBAL',
    helpValue: '90s|5m',
    parse: async (text) => parseDuration(text),
  })(),
};
