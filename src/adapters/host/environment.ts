import { accessSync, constants, statSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** The environment of child processes: the user's own, without variables that would change their output. */

export type Environment = Record<string, string | undefined>;

/** Debug variables of libvirt make it write into the output that is parsed here. */
const ofLibvirt = /^(VIRSH_|LIBVIRT_)/;
const keptOfLibvirt: ReadonlySet<string> = new Set(['LIBVIRT_AUTH_FILE', 'LIBVIRT_AUTOSTART']);
/** GLib (used by libvirt and QEMU) would write to standard output or abort; getopt would stop at the first operand. */
const misleading = /^(G_MESSAGES_DEBUG|G_MESSAGES_PREFIXED|G_DEBUG|G_ENABLE_DIAGNOSTIC|POSIXLY_CORRECT|GETOPT_COMPATIBLE|MKISOFSRC)$/;
/** Options and file names for compression tools. */
const ofCompression = /^(GZIP|XZ_OPT|XZ_DEFAULTS|BZIP2?|ZSTD_\w+)$/;

/** For tools on the user's terminal, in the user's language. */
export function attachedEnvironment(extra: Environment = {}): Environment {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !misleading.test(name) && !ofCompression.test(name) && (!ofLibvirt.test(name) || keptOfLibvirt.has(name)),
  );
  return { ...Object.fromEntries(inherited), TMPDIR: temporaryDirectory(), ...extra };
}

/** For tools whose output is parsed. */
export function childEnvironment(extra: Environment = {}): Environment {
  // LC_ALL overrides LANG, but LANGUAGE would override it for translated messages.
  return { ...attachedEnvironment(), LC_ALL: 'C', LANGUAGE: undefined, ...extra };
}

/** TMPDIR, or the system's default if TMPDIR is not a writable directory. */
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
