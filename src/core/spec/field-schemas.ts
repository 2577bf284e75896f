import { z } from 'zod';
import { isPublicKey } from '../guest/ssh-keys.js';
import {
  clusterSizeRule,
  completeFormat,
  defaultOverlayFormat,
  formatOverlay,
  formatProblem,
  isClusterSize,
  parseClusterSize,
} from '../image/overlay-format.js';
import { limits, maxLength, type Range } from '../limits.js';
import { namePattern, nameRule } from '../names.js';

export const integerWithin = ({ min, max }: Range): z.ZodNumber => z.number().int().min(min).max(max);

const units: Record<string, number> = { m: 1, mb: 1, mib: 1, g: 1024, gb: 1024, gib: 1024, t: 1024 ** 2, tb: 1024 ** 2, tib: 1024 ** 2 };

/** `512`, `512MiB`, `2GiB` → MiB; undefined for other text. */
export function parseMemoryMiB(text: string): number | undefined {
  const match = /^(\d{1,7})\s*([a-z]*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const unit = match[2] === '' ? 1 : units[(match[2] ?? '').toLowerCase()];
  return unit === undefined ? undefined : Number(match[1]) * unit;
}

// Characters outside the Char production of XML 1.0.
const forbiddenInXml = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u;

const variable = z
  .union([z.string().max(maxLength.variable), z.number(), z.boolean()])
  .refine((value) => typeof value !== 'string' || !forbiddenInXml.test(value), 'has a control character, which XML cannot contain');

export const memory = z
  .union([z.number().int(), z.string()])
  .describe('Guest memory: a number of MiB, or a string such as "512MiB" or "2GiB".')
  .transform((value, context) => {
    const mib = typeof value === 'number' ? value : parseMemoryMiB(value);
    if (mib === undefined || mib < limits.memoryMiB.min || mib > limits.memoryMiB.max) {
      context.addIssue({
        code: 'custom',
        message: `is not a memory size: write MiB as a number, or "512MiB", "2GiB" (4 MiB to 16 TiB)`,
      });
      return z.NEVER;
    }
    return mib;
  });

export const network = z
  .string()
  .regex(
    new RegExp(`^(none|user|(network|bridge)=[A-Za-z0-9][A-Za-z0-9_.-]{0,${maxLength.networkName - 1}})$`),
    'is not a network: write none, user, network=NAME or bridge=NAME',
  )
  .describe('none, user (QEMU user-mode networking), network=NAME (a libvirt network) or bridge=NAME (a host bridge).');

export const name = z.string().regex(namePattern, `is not a name: ${nameRule}`);

export const seed = z.enum(['none', 'nocloud', 'smbios']);

export const sshUser = z
  .string()
  .regex(new RegExp(`^[a-z_][a-z0-9_-]{0,${maxLength.userName - 1}}$`), `is not a user name: at most ${maxLength.userName} characters`);

export const sshKeys = z
  .array(z.string().refine(isPublicKey, 'is not a public key: write the one line of a .pub file'))
  .max(limits.sshKeys.max)
  .describe("Public keys that can log in, in addition to the fleet's own: lines as in a .pub file.");

export const variables = z.record(
  z
    .string()
    .regex(
      new RegExp(`^[A-Za-z_][A-Za-z0-9_]{0,${maxLength.variableName - 1}}$`),
      `is not a variable name: letters, digits and _, at most ${maxLength.variableName}`,
    ),
  variable,
);

export const file = z
  .string()
  .min(1)
  .max(maxLength.path)
  .refine((path) => !path.includes('\0'), 'is not a path: it contains a NUL character');

export const concurrency = integerWithin(limits.concurrency);

export const diskSize = z
  .union([z.number().int(), z.string()])
  .describe('Size of the disk: a number of MiB, or a string such as "512MiB", "10GiB", "1TiB".')
  .transform((value, context) => {
    const mib = typeof value === 'number' ? value : parseMemoryMiB(value);
    if (mib === undefined || mib < limits.diskMiB.min || mib > limits.diskMiB.max) {
      context.addIssue({ code: 'custom', message: 'is not a size: write MiB as a number, or "512MiB", "10GiB" (1 MiB to 64 TiB)' });
      return z.NEVER;
    }
    return mib;
  });

const clusterSize = z
  .union([z.number().int(), z.string()])
  .describe('A power of two from 512 bytes to 2 MiB: a number of bytes, or a string such as "64KiB" or "128KiB".')
  .transform((value, context) => {
    const bytes = parseClusterSize(String(value));
    if (bytes !== undefined) return bytes;
    context.addIssue({ code: 'custom', message: `is not a cluster size: ${clusterSizeRule}` });
    return z.NEVER;
  });

/** The format of overlays as written in a fleet file. */
export const overlayInput = z
  .strictObject({
    clusterSize: clusterSize.optional(),
    extendedL2: z
      .boolean()
      .optional()
      .describe('Divide each cluster into 32 subclusters: small scattered writes take less space (clusters of at least 16 KiB).'),
  })
  .describe(
    `Format of the disks that are created from now on (default: ${formatOverlay(defaultOverlayFormat)}); existing disks keep theirs until a reset.`,
  );

/** Both parts of it, as recorded. */
export const overlay = overlayInput.transform(({ clusterSize: clusterBytes, extendedL2 }, context) => {
  const format = completeFormat({ clusterBytes, extendedL2 });
  const problem = formatProblem(format);
  if (problem === undefined) return format;
  context.addIssue({ code: 'custom', path: [clusterBytes === undefined ? 'extendedL2' : 'clusterSize'], message: problem });
  return z.NEVER;
});

/** As recorded. */
export const overlayFormat = z
  .strictObject({ clusterBytes: z.number().refine(isClusterSize, `is not a cluster size: ${clusterSizeRule}`), extendedL2: z.boolean() })
  .superRefine((format, context) => {
    const problem = formatProblem(format);
    if (problem !== undefined) context.addIssue({ code: 'custom', path: ['clusterBytes'], message: problem });
  });
