import { z } from 'zod';
import { CowherdError } from '../errors.js';

/**
 * Replies of a QEMU monitor. A guest that has broken out of its VM controls its QEMU, so replies are parsed with schemas, like those of a
 * guest agent.
 * Source: https://qemu-project.gitlab.io/qemu/interop/qemu-qmp-ref.html
 */

const number = z.int().min(0).max(9_999);
const word = z.string().max(256);
/** A QEMU has a few dozen jobs and drives at most. */
const mostEntries = 10_000;

const versionSchema = z.object({ qemu: z.object({ major: number, minor: number, micro: number }), package: word.default('') });
const jobsSchema = z.array(z.object({ id: word, status: word, error: z.string().optional() })).max(mostEntries);
const blocksSchema = z
  .array(
    z.object({
      inserted: z.object({ 'node-name': word.optional(), file: z.string().max(8_192), ro: z.boolean() }).optional(),
    }),
  )
  .max(mostEntries);
const errorSchema = z.object({ error: z.object({ desc: z.string().default('no reason given') }) });

export interface MonitorJob {
  id: string;
  status: string;
  /** Free text; see excerpt in core/guest/text.ts. */
  error?: string | undefined;
}

export interface OpenDisk {
  node: string | undefined;
  file: string;
  isReadOnly: boolean;
}

/** @throws TOOL_FAILED, like all of these, for a reply that violates QMP */
export function parseVersion(domain: string, reply: unknown): string {
  const { qemu, package: of } = read(domain, 'query-version', versionSchema, reply);
  return `${qemu.major}.${qemu.minor}.${qemu.micro}${of === '' ? '' : ` (${of})`}`;
}

export function parseJobs(domain: string, reply: unknown): MonitorJob[] {
  return read(domain, 'query-jobs', jobsSchema, reply);
}

/** Drives with a medium. */
export function parseBlocks(domain: string, reply: unknown): OpenDisk[] {
  return read(domain, 'query-block', blocksSchema, reply).flatMap(({ inserted }) =>
    inserted === undefined ? [] : [{ node: inserted['node-name'], file: inserted.file, isReadOnly: inserted.ro }],
  );
}

/** @returns the value of `return` @throws TOOL_FAILED if it is not JSON, or neither a result nor an error */
export function parseAnswer(domain: string, command: string, text: string): { value: unknown } | { refusal: string } {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw unreadable(domain, command, cause);
  }
  const refused = errorSchema.safeParse(answer);
  if (refused.success) return { refusal: refused.data.error.desc };
  if (typeof answer !== 'object' || answer === null || !('return' in answer)) throw unreadable(domain, command, undefined);
  return { value: answer.return };
}

function read<T>(domain: string, command: string, schema: z.ZodType<T>, reply: unknown): T {
  const result = schema.safeParse(reply);
  if (result.success) return result.data;
  throw unreadable(domain, command, result.error);
}

function unreadable(domain: string, command: string, cause: unknown): CowherdError {
  return new CowherdError('TOOL_FAILED', `The QEMU of ${domain} sent an invalid reply to ${command}`, {
    hint: `Force it off if you no longer trust its guest: virsh destroy ${domain}`,
    cause,
  });
}
