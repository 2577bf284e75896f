import { baseName } from '../core/copy.js';
import { CowherdError } from '../core/errors.js';
import type { MemberIdentity } from '../core/identity.js';
import type { Ports } from '../ports.js';
import { isAborted } from './engine.js';

/** Files by way of the guest agent: no network is needed, and nothing of it is fast. */

/** Raw bytes per message. libvirt takes messages of some megabytes; a small one keeps the session free for others. */
const chunkBytes = 64 * 1024;
const maxBytes = 64 * 1024 * 1024;
const callSeconds = 30;

export async function copyByAgent(
  ports: Pick<Ports, 'agent' | 'files' | 'clock'>,
  { name }: MemberIdentity,
  { direction, local, remote }: { direction: 'to' | 'from'; local: string; remote: string },
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<void> {
  const deadline = ports.clock.monotonic() + timeoutMs;
  const call = async (execute: string, args: object): Promise<unknown> => {
    if (isAborted(signal)) throw new CowherdError('INTERRUPTED', `Interrupted while copying ${direction} ${name}`);
    if (ports.clock.monotonic() >= deadline) {
      throw new CowherdError('TOOL_TIMEOUT', `Copying ${direction} ${name} took longer than ${timeoutMs / 1000} s`, {
        hint: 'Give it longer with --timeout, or go by ssh: --via ssh.',
      });
    }
    return ports.agent.command(name, { execute, arguments: args }, callSeconds);
  };
  if (direction === 'to') {
    const bytes = await ports.files.read(local, maxBytes);
    // A path that ends like a directory is where the file goes in.
    const path = remote.endsWith('/') ? `${remote}${baseName(local)}` : remote;
    const handle = await call('guest-file-open', { path, mode: 'w' });
    try {
      for (let at = 0; at < bytes.length; at += chunkBytes) {
        const chunk = bytes.subarray(at, at + chunkBytes);
        const written = (await call('guest-file-write', { handle, 'buf-b64': chunk.toString('base64') })) as { count?: number } | undefined;
        if (written?.count !== chunk.length) {
          throw new CowherdError('GUEST_REFUSED', `${name} took ${written?.count} of ${chunk.length} bytes of ${path}`, {
            hint: 'Is its disk full?',
          });
        }
      }
      // qemu-ga writes when it is told to: a full disk shows here.
      await call('guest-file-flush', { handle });
    } catch (error) {
      await call('guest-file-close', { handle }).catch(() => undefined);
      throw error;
    }
    await call('guest-file-close', { handle });
    return;
  }
  const target = (await ports.files.kind(local)) === 'directory' ? `${local}/${baseName(remote)}` : local;
  const chunks: Buffer[] = [];
  let length = 0;
  const handle = await call('guest-file-open', { path: remote, mode: 'r' });
  try {
    for (;;) {
      const read = (await call('guest-file-read', { handle, count: chunkBytes })) as { 'buf-b64'?: string; eof?: boolean };
      const chunk = Buffer.from(read['buf-b64'] ?? '', 'base64');
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) {
        throw new CowherdError('BAD_USAGE', `${remote} of ${name} is larger than the agent is good for (${maxBytes / 1024 ** 2} MiB)`, {
          hint: 'Go by ssh: --via ssh.',
        });
      }
      if (read.eof === true || chunk.length === 0) break;
    }
  } finally {
    await call('guest-file-close', { handle }).catch(() => undefined);
  }
  await ports.files.write(target, Buffer.concat(chunks));
}
