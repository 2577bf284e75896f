import { CowherdError } from '../../core/errors.js';
import { runTool } from '../process.js';

/** It boots a small VM, which takes minutes without KVM. */
const limitMs = 30 * 60_000;

/** With others, such as customize, it would finally write a new machine-id or random data that all members share. */
const operations = ['machine-id', 'ssh-hostkeys', 'dhcp-client-state', 'logfiles', 'tmp-files', 'bash-history', 'net-hwaddr'];

/**
 * Runs virt-sysprep on a disk that is not in use. In place.
 * @param options.inherit descriptors of the locks under which the disk is written
 * @returns false if it is not installed
 * @throws TOOL_FAILED, TOOL_TIMEOUT, INTERRUPTED
 */
export async function generalizeDisk(
  path: string,
  { signal, inherit }: { signal?: AbortSignal | undefined; inherit: number[] },
): Promise<boolean> {
  const words = ['--quiet', '--no-network', '--format', 'qcow2', '--add', path, '--operations', operations.join(',')];
  try {
    // Otherwise libvirt would start the VM of this tool, and change the owner of the disk for it.
    await runTool('virt-sysprep', words, { timeoutMs: limitMs, signal, inherit, env: { LIBGUESTFS_BACKEND: 'direct' } });
    return true;
  } catch (error) {
    if (error instanceof CowherdError && error.code === 'TOOL_MISSING') return false;
    throw error;
  }
}
