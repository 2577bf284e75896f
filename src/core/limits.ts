import { CowherdError } from './errors.js';

/** Every limit on what can be asked for, in one place: flags, fleet files, state files and the library go by these. */

export interface Range {
  min: number;
  max: number;
}

const MiB = 1024 ** 2;

export const limits = {
  /** Members of a fleet. All verbs cost the same per member, measured up to 1,000; as many ports can be forwarded. */
  members: { min: 1, max: 10_000 },
  fleetsInFile: { min: 1, max: 100 },
  /** Of a guest: 4 MiB to 16 TiB. */
  memoryMiB: { min: 4, max: 16 * MiB },
  vcpus: { min: 1, max: 512 },
  /** Network cards of a member. */
  nics: { min: 1, max: 16 },
  /** Disks of a member beside its first one. */
  disks: { min: 0, max: 20 },
  /** Of a blank disk: 1 MiB to 64 TiB. */
  diskMiB: { min: 1, max: 64 * MiB },
  /** Members that are worked on, or started, at the same time. */
  concurrency: { min: 1, max: 256 },
  /** Members that a rebase moves at the same time. */
  batch: { min: 1, max: 1_000 },
  /** Whatever is waited for: a millisecond to a day. Timers of Node end at 24 days. */
  timeoutMs: { min: 1, max: 24 * 3_600_000 },
  /** Lines of a console log that are asked for. */
  tailLines: { min: 1, max: 10_000 },
  sshKeys: { min: 0, max: 100 },
} as const satisfies Record<string, Range>;

/** Longest names and texts, in characters. */
export const maxLength = {
  /** Of a fleet or a base image. */
  name: 40,
  diskName: 20,
  networkName: 63,
  userName: 32,
  variableName: 40,
  variable: 10_000,
  path: 4096,
  /** How a domain that cowherd did not make is named. */
  domain: 256,
} as const;

/** `1 to 10000` */
export function formatRange({ min, max }: Range): string {
  return `${min} to ${max}`;
}

/**
 * Checks whole numbers that came by the library; undefined is left to its default.
 * @param values each with its range, by the name that the caller knows it by
 * @throws BAD_USAGE, naming the limit
 */
export function assertWithin(values: Record<string, readonly [value: number | undefined, range: Range]>): void {
  for (const [name, [value, range]] of Object.entries(values)) {
    if (value === undefined || (Number.isInteger(value) && value >= range.min && value <= range.max)) continue;
    throw new CowherdError('BAD_USAGE', `${name} cannot be ${value}`, { hint: `Use a whole number from ${formatRange(range)}.` });
  }
}
