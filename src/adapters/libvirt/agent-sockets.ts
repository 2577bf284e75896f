import { lstat, mkdir, rmdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { isMissing } from '../store/files/files.js';
import { SafeUnlinker } from '../store/files/safe-unlinker.js';

/** Size of sun_path in unix(7), including the final NUL. */
const longestSocketPath = 107;
/** libvirt names a domain's directory `domain-ID-` and at most 20 characters of its name. */
const domainDirectoryLength = 'domain-99999-'.length + 20;

/**
 * Where a session daemon's guest agent sockets are. libvirt puts them deep below the home directory; a home path of more
 * than 18 characters makes the path too long for a socket, and no domain with an agent starts. Then a short path is used.
 */
export class AgentSockets {
  readonly #directory = `/tmp/cowherd-${process.getuid?.() ?? 0}`;
  readonly #isNeeded: boolean;

  constructor(isSystem: boolean) {
    const config = process.env.XDG_CONFIG_HOME || join(homedir(), '.config');
    const usual = join(config, 'libvirt/qemu/channel/target', 'd'.repeat(domainDirectoryLength), 'org.qemu.guest_agent.0');
    this.#isNeeded = !isSystem && usual.length > longestSocketPath;
  }

  /** @returns the path to write into the domain; undefined if libvirt's own path is short enough */
  path(member: string): string | undefined {
    return this.#isNeeded ? join(this.#directory, `${member}.agent`) : undefined;
  }

  /** Creates the directory, and refuses one of another user, who could impersonate the guest. */
  async prepare(): Promise<void> {
    if (!this.#isNeeded) return;
    await mkdir(this.#directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    const stats = await lstat(this.#directory);
    if (!stats.isDirectory() || stats.uid !== process.getuid?.() || (stats.mode & 0o077) !== 0) {
      throw new CowherdError('STORE_FAILED', `${this.#directory} is not a private directory of this user`, {
        hint: 'Remove it; cowherd recreates it. It holds the sockets of guest agents, because the path of your home directory is too long for them.',
      });
    }
  }

  async remove(member: string): Promise<void> {
    const path = this.path(member);
    if (path === undefined) return;
    await new SafeUnlinker(this.#directory).unlink(path).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
    // Removed with the last socket; other fleets may still use it.
    await rmdir(this.#directory).catch(() => undefined);
  }
}
