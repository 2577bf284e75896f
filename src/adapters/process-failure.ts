import { formatDuration } from '../core/duration.js';
import { CowherdError, fullDiskHint } from '../core/errors.js';
import { type Denial, denialOf } from './host/denied.js';

const packageOf: Record<string, string> = {
  virsh: 'libvirt-clients',
  'qemu-img': 'qemu-utils',
  flock: 'util-linux',
  ssh: 'openssh-client',
  scp: 'openssh-client',
  genisoimage: 'genisoimage',
  'xdg-open': 'xdg-utils',
  script: 'bsdutils',
  prlimit: 'util-linux',
  gpgv: 'gpgv',
  gzip: 'gzip',
  xz: 'xz-utils',
  zstd: 'zstd',
  bzip2: 'bzip2',
};

/** How a tool ended. */
export interface ToolEnd {
  code?: string | undefined;
  exitCode?: number | undefined;
  signal?: string | undefined;
  isCanceled: boolean;
  timedOut: boolean;
}

/** Why a tool failed, with its call and what it said. */
export function failureOf(command: string, args: readonly string[], result: ToolEnd, stderr: string, timeoutMs: number): CowherdError {
  const call = [command, ...args].join(' ');
  if (result.code === 'ENOENT') return missingTool(command);
  if (result.isCanceled) return new CowherdError('INTERRUPTED', `Interrupted while running ${command}`);
  if (result.timedOut) {
    return new CowherdError('TOOL_TIMEOUT', `${call} did not finish within ${formatDuration(timeoutMs)}`, {
      hint: 'Is the disk or the daemon overloaded? Try the command yourself.',
    });
  }
  const said = stderr.split('\n').filter((line) => line.trim() !== '');
  const killed = result.signal === undefined ? undefined : `it was killed by ${result.signal}`;
  const [reason = `it exited with ${result.exitCode ?? 'an unknown code'} and no message`, ...rest] = killed ? [killed, ...said] : said;
  return new CowherdError('TOOL_FAILED', `${command} failed: ${reason}`, {
    details: [`call: ${call}`, ...rest.slice(-4)],
    hint: hintFor(stderr, result.signal),
    cause: result,
  });
}

function hintFor(stderr: string, signal: string | undefined): string {
  if (/No space left on device/i.test(stderr)) return fullDiskHint;
  if (/Disk quota exceeded/i.test(stderr)) return 'The disk quota of this user is used up. Free some space, then run the command again.';
  if (/Read-only file system/i.test(stderr)) return 'The file system is read-only. Use --store DIR on another one, or remount it.';
  const denied = denialIn(stderr);
  if (denied !== undefined) return denied.hint;
  if (/Too many open files/i.test(stderr)) return 'Raise the limit of open files (ulimit -n 1024), or lower --concurrency.';
  if (signal === 'SIGKILL') return 'Was the host out of memory? "dmesg" shows it. Free some memory, then run the command again.';
  return 'Run the command yourself to see more.';
}

/** For `qemu-img: Could not create '/a/b': Operation not permitted`. */
function denialIn(stderr: string): Denial | undefined {
  const [, quoted, bare, reason = ''] = /(?:'(\/[^'\n]+)'|(\/[^:'\n]+)): (Operation not permitted|Permission denied)/.exec(stderr) ?? [];
  const path = quoted ?? bare;
  if (path === undefined) return undefined;
  const code = reason.startsWith('Operation') ? 'EPERM' : 'EACCES';
  return denialOf(`${stderr.includes('Could not open') ? 'read' : 'write'} ${path}`, { code, path });
}

export function missingTool(command: string): CowherdError {
  const name = packageOf[command];
  return new CowherdError('TOOL_MISSING', `${command} is not installed`, {
    hint: name === undefined ? `Put ${command} on PATH.` : `On Debian and Ubuntu: sudo apt-get install ${name}`,
  });
}
