import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { parseFileHandle, parseFileRead, parseFileWritten } from '../../core/guest/agent.js';
import { baseName } from '../../core/guest/copy.js';
import type { Ports } from '../../ports/index.js';
import { isAborted } from '../run/member-executor.js';

/** Copies files by the guest agent: needs no network, but is slow. */

/** Raw bytes per message. libvirt accepts some megabytes; small messages leave the session free for others. */
const chunkBytes = 64 * 1024;
const maxBytes = 64 * 1024 * 1024;
const callSeconds = 30;
/** For closing a handle, even after the deadline: a guest has few of them. */
const closeSeconds = 5;

type CopyPorts = Pick<Ports, 'agent' | 'files' | 'clock'>;
type Call = (execute: string, args: object) => Promise<unknown>;

/** @throws GUEST_UNREACHABLE, GUEST_REFUSED, TOOL_TIMEOUT, INTERRUPTED, BAD_USAGE for files that are too large */
export async function copyByAgent(
  ports: CopyPorts,
  { name }: MemberIdentity,
  { direction, local, remote }: { direction: 'to' | 'from'; local: string; remote: string },
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<void> {
  const deadline = ports.clock.monotonic() + timeoutMs;
  const call: Call = async (execute, args) => {
    if (isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted while copying ${direction} ${name}`);
    if (ports.clock.monotonic() >= deadline) {
      throw new CowherdError('TOOL_TIMEOUT', `Copying ${direction} ${name} took longer than ${formatDuration(timeoutMs)}`, {
        hint: 'Allow more time with --timeout, or use ssh: --via ssh.',
      });
    }
    return ports.agent.command(name, { execute, arguments: args }, Math.min(callSeconds, (deadline - ports.clock.monotonic()) / 1000));
  };
  if (direction === 'to') {
    const bytes = await ports.files.read(local, maxBytes);
    // A path with a trailing slash is a directory.
    const path = remote.endsWith('/') ? `${remote}${baseName(local)}` : remote;
    await withFile(ports, name, call, { path, mode: 'w' }, (handle) => writeAll(name, call, handle, { path, bytes }));
    return;
  }
  const target = (await ports.files.kind(local)) === 'directory' ? `${local}/${baseName(remote)}` : local;
  const bytes = await withFile(ports, name, call, { path: remote, mode: 'r' }, (handle) => readAll(name, call, handle, remote));
  await ports.files.write(target, bytes);
}

/** Always closes the handle. */
async function withFile<T>(
  { agent }: CopyPorts,
  name: string,
  call: Call,
  file: { path: string; mode: 'r' | 'w' },
  work: (handle: number) => Promise<T>,
): Promise<T> {
  const handle = parseFileHandle(name, await call('guest-file-open', file));
  const close = (): Promise<unknown> => agent.command(name, { execute: 'guest-file-close', arguments: { handle } }, closeSeconds);
  let result: T;
  try {
    result = await work(handle);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
  // After writing, an error here may be the first sign of a full disk.
  await close().catch((error: unknown) => {
    if (file.mode === 'w') throw error;
  });
  return result;
}

async function writeAll(name: string, call: Call, handle: number, { path, bytes }: { path: string; bytes: Buffer }): Promise<void> {
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const chunk = bytes.subarray(at, at + chunkBytes);
    const count = parseFileWritten(name, await call('guest-file-write', { handle, 'buf-b64': chunk.toString('base64') }));
    if (count !== chunk.length) {
      throw new CowherdError('GUEST_REFUSED', `${name} wrote only ${count} of ${chunk.length} bytes of ${path}`, {
        hint: `Check whether its disk is full: cowherd exec ${name} -- df -h`,
      });
    }
  }
  // qemu-ga buffers writes: a full disk is reported here.
  await call('guest-file-flush', { handle });
}

async function readAll(name: string, call: Call, handle: number, remote: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for (;;) {
    const { bytes, eof } = parseFileRead(name, await call('guest-file-read', { handle, count: chunkBytes }), chunkBytes);
    chunks.push(bytes);
    length += bytes.length;
    if (length > maxBytes) {
      throw new CowherdError('BAD_USAGE', `${remote} of ${name} is larger than the agent's limit of ${maxBytes / 1024 ** 2} MiB`, {
        hint: 'Use ssh: --via ssh.',
      });
    }
    if (eof || bytes.length === 0) return Buffer.concat(chunks);
  }
}
