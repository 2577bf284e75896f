import { CowherdError } from './errors.js';

/** All limits on input, for flags, fleet files, state files and the library. */

export interface Range {
  min: number;
  max: number;
}

const MiB = 1024 ** 2;

export const limits = {
  /** Members of a fleet. The cost per member is constant, measured up to 1,000; as many ports can be forwarded. */
  members: { min: 1, max: 10_000 },
  fleetsInFile: { min: 1, max: 100 },
  /** Of a guest: 4 MiB to 16 TiB. */
  memoryMiB: { min: 4, max: 16 * MiB },
  vcpus: { min: 1, max: 512 },
  /** Network cards of a member. */
  nics: { min: 1, max: 16 },
  /** Disks of a member in addition to its first one. */
  disks: { min: 0, max: 20 },
  /** Of a blank disk: 1 MiB to 64 TiB. */
  diskMiB: { min: 1, max: 64 * MiB },
  /** Members to process or start at the same time. */
  concurrency: { min: 1, max: 256 },
  /** Members to rebase at the same time. */
  batch: { min: 1, max: 1_000 },
  /** Timeouts: a millisecond to a day. Node's timers end at 24 days. */
  timeoutMs: { min: 1, max: 24 * 3_600_000 },
  /** Lines of a console log. */
  tailLines: { min: 1, max: 10_000 },
  sshKeys: { min: 0, max: 100 },
  /** Commands that prepare an image. */
  commands: { min: 0, max: 100 },
  /** Of one placement setting with several values. */
  placementValues: { min: 1, max: 50 },
} as const satisfies Record<string, Range>;

/** Largest size of what is unpacked from an image file, in bytes: the default, and the largest value of --max-size. */
export const unpackedBytes = { default: 64 * 1024 ** 3, max: 64 * 1024 ** 4 } as const;

/** Bytes of `512MiB`, `100GiB` or `1TiB`. @throws BAD_USAGE for other text */
export function parseUnpackedBytes(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,7})\s*([mgt])i?b?$/i.exec(text.trim()) ?? [];
  const bytes = Number(count) * 1024 ** ({ m: 2, g: 3, t: 4 }[unit.toLowerCase()] ?? 0);
  if (bytes > 0 && bytes <= unpackedBytes.max) return bytes;
  throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is not a size`, {
    hint: 'Write "512MiB", "100GiB" or "1TiB", at most 64TiB.',
  });
}

/** Maximum lengths of names and texts, in characters. */
export const maxLength = {
  /** Of a fleet or a base image. */
  name: 40,
  diskName: 20,
  networkName: 63,
  userName: 32,
  variableName: 40,
  variable: 10_000,
  path: 4096,
  /** Of a placement setting. */
  placement: 255,
  /** Name of a domain that cowherd did not create. */
  domain: 256,
  /** A command that prepares an image, in bytes. Linux limits an argument to 128 KiB. */
  command: 32 * 1024,
  /** A script that prepares an image, in bytes: the limit of the guest agent. */
  script: 64 * 1024,
} as const;

/** `1 to 10000` */
export function formatRange({ min, max }: Range): string {
  return `${min} to ${max}`;
}

/**
 * Checks whole numbers from the library; undefined means the default.
 * @param values each value with its range, by its name in the API
 * @throws BAD_USAGE, naming the limit
 */
export function assertWithin(values: Record<string, readonly [value: number | undefined, range: Range]>): void {
  for (const [name, [value, range]] of Object.entries(values)) {
    if (value === undefined || (Number.isInteger(value) && value >= range.min && value <= range.max)) continue;
    throw new CowherdError('BAD_USAGE', `${name} cannot be ${value}`, { hint: `Use a whole number from ${formatRange(range)}.` });
  }
}
