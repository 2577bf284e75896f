import { accessSync, constants, statSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** What child processes are told by their environment: what the person has set, without what would change the meaning of what they say. */

export type Environment = Record<string, string | undefined>;

/** Said about libvirt by those who debug it. virsh and libvirt then write into the answers that are read here. */
const ofLibvirt = /^(VIRSH_|LIBVIRT_)/;
const keptOfLibvirt: ReadonlySet<string> = new Set(['LIBVIRT_AUTH_FILE', 'LIBVIRT_AUTOSTART']);
/** GLib, which libvirt and QEMU stand on, writes to standard output or ends the process; getopt stops at the first operand. */
const misleading = /^(G_MESSAGES_DEBUG|G_MESSAGES_PREFIXED|G_DEBUG|G_ENABLE_DIAGNOSTIC|POSIXLY_CORRECT|GETOPT_COMPATIBLE|MKISOFSRC)$/;

/** For tools that have the person's own terminal: they speak the person's language. */
export function attachedEnvironment(extra: Environment = {}): Environment {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !misleading.test(name) && (!ofLibvirt.test(name) || keptOfLibvirt.has(name)),
  );
  return { ...Object.fromEntries(inherited), TMPDIR: temporaryDirectory(), ...extra };
}

/** For tools whose answers are read. */
export function childEnvironment(extra: Environment = {}): Environment {
  // LC_ALL wins over LANG; LANGUAGE would win over it for translated messages.
  return { ...attachedEnvironment(), LC_ALL: 'C', LANGUAGE: undefined, ...extra };
}

/** TMPDIR, or the system's own where TMPDIR names nothing that can be written to. */
export function temporaryDirectory(): string {
  return [tmpdir(), '/tmp', '/var/tmp'].find(isWritableDirectory) ?? tmpdir();
}

function isWritableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
