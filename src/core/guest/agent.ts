import { z } from 'zod';
import { CowherdError } from '../errors.js';
import { type Ipv4Address, type MacAddress, parseMac, parseUnicastIpv4 } from './values.js';

/**
 * Messages of the QEMU guest agent. The guest is not trusted: each reply is parsed with a schema that gives
 * plain values within bounds, or is refused.
 * Source: https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html
 */

export interface AgentExecStatus {
  exited: boolean;
  /** As in a shell: 128 plus the signal's number if it was killed. On Windows up to 32 bits. */
  exitCode: number;
  stdout: Buffer;
  stderr: Buffer;
  /** The agent kept only part of the output. */
  truncated: boolean;
}

/** @param input for the program's standard input */
export function execCommand(argv: readonly string[], input?: string | Uint8Array): object {
  const [path = '', ...arg] = argv;
  const stdin = input === undefined ? {} : { 'input-data': Buffer.from(input as Uint8Array).toString('base64') };
  return { execute: 'guest-exec', arguments: { path, arg, ...stdin, 'capture-output': true } };
}

/** libvirt accepts messages of about 7 MB. */
const mostBase64 = 16 * 1024 * 1024;
const base64 = z
  .string()
  .max(mostBase64)
  .regex(/^[A-Za-z0-9+/]*={0,2}$/)
  .transform((text) => Buffer.from(text, 'base64'));
const noOutput = base64.default(Buffer.alloc(0));
/** A signed or unsigned 32-bit number: exit codes of Windows are both. */
const int32 = z
  .int()
  .min(-(2 ** 31))
  .max(2 ** 32 - 1);
const handle = z.int().min(0);

const execBegunSchema = z.object({ pid: z.int().positive() });
const execStatusSchema = z.union([
  z.object({ exited: z.literal(false) }),
  z
    .object({
      exited: z.literal(true),
      exitcode: int32.optional(),
      signal: int32.optional(),
      'out-data': noOutput,
      'err-data': noOutput,
      'out-truncated': z.boolean().default(false),
      'err-truncated': z.boolean().default(false),
    })
    .refine(({ exitcode, signal }) => exitcode !== undefined || signal !== undefined),
]);
const fileReadSchema = z.object({ count: z.int().min(0).optional(), 'buf-b64': noOutput, eof: z.boolean().default(false) });
const fileWrittenSchema = z.object({ count: z.int().min(0) });

/** @throws GUEST_REFUSED for a reply that violates the agent's protocol */
export function parseExecBegun(domain: string, reply: unknown): number {
  return read(domain, 'guest-exec', execBegunSchema, reply).pid;
}

/** @throws GUEST_REFUSED */
export function parseExecStatus(domain: string, reply: unknown): AgentExecStatus {
  const status = read(domain, 'guest-exec-status', execStatusSchema, reply);
  if (!status.exited) return { exited: false, exitCode: 0, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), truncated: false };
  const { signal = 0, exitcode = 0 } = status;
  return {
    exited: true,
    exitCode: signal > 0 ? 128 + signal : exitcode,
    stdout: status['out-data'],
    stderr: status['err-data'],
    truncated: status['out-truncated'] || status['err-truncated'],
  };
}

/** @throws GUEST_REFUSED */
export function parseFileHandle(domain: string, reply: unknown): number {
  return read(domain, 'guest-file-open', handle, reply);
}

/** @param most how many bytes were requested @throws GUEST_REFUSED */
export function parseFileRead(domain: string, reply: unknown, most: number): { bytes: Buffer; eof: boolean } {
  const { 'buf-b64': bytes, eof } = read(domain, 'guest-file-read', fileReadSchema, reply);
  if (bytes.length > most) throw unreadable(domain, 'guest-file-read', `${bytes.length} bytes instead of ${most} at most`);
  return { bytes, eof };
}

/** @returns how many bytes were written @throws GUEST_REFUSED */
export function parseFileWritten(domain: string, reply: unknown): number {
  return read(domain, 'guest-file-write', fileWrittenSchema, reply).count;
}

export interface InterfaceAddress {
  mac: MacAddress;
  ip: Ipv4Address;
}

/** No real guest has more. */
const most = { interfaces: 256, addresses: 64 };

/**
 * Unicast IPv4 addresses from `guest-network-get-interfaces`, by MAC. Other entries are skipped, since a
 * guest may have interfaces that cowherd does not support.
 */
export function parseInterfaces(reply: unknown): InterfaceAddress[] {
  return records(reply, most.interfaces).flatMap((card) => {
    const mac = parseMac(card['hardware-address']);
    if (mac === undefined) return [];
    return records(card['ip-addresses'], most.addresses).flatMap((address) => {
      const ip = address['ip-address-type'] === 'ipv4' ? parseUnicastIpv4(address['ip-address']) : undefined;
      return ip === undefined ? [] : [{ mac, ip }];
    });
  });
}

function records(value: unknown, count: number): Record<string, unknown>[] {
  const list: unknown[] = Array.isArray(value) ? value.slice(0, count) : [];
  return list.filter((item): item is Record<string, unknown> => typeof item === 'object' && item !== null);
}

function read<T>(domain: string, command: string, schema: z.ZodType<T>, reply: unknown): T {
  const result = schema.safeParse(reply);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw unreadable(domain, command, issue === undefined ? '' : [issue.path.join('.'), issue.code].filter((word) => word !== '').join(': '));
}

/** Does not quote the reply, which may be megabytes of anything. */
function unreadable(domain: string, command: string, why: string): CowherdError {
  return new CowherdError('GUEST_REFUSED', `The agent of ${domain} sent an invalid reply to ${command} (${why})`, {
    hint: 'Check the qemu-guest-agent in that guest, or use ssh instead: --via ssh.',
  });
}
