import { createConnection } from 'node:net';
import { CowherdError } from '../../core/errors.js';
import { excerpt, excerptLines, guestText } from '../../core/guest/text.js';
import type { Ipv4Address } from '../../core/guest/values.js';
import { shellWord, sshConfigValue } from '../../core/quoting.js';
import type { CopyOptions, RemoteResult, RemoteRunOptions, RemoteShell, SshEndpoint } from '../../ports/index.js';
import { runAttached, runTool } from '../process.js';

/** How long ssh may take to connect, in seconds; the command's own time comes on top. */
const connectSeconds = 10;
/** ssh's own failures, as against those of the program that it runs. */
const sshFailed = 255;

/** A variable that stands for itself in the paths that ssh is given. */
const dollar = 'COWHERD_DOLLAR';
const env = { [dollar]: '$' };

/** OpenSSH's client, told everything on its command line: the person's configuration of other hosts does not count. */
export class OpenSsh implements RemoteShell {
  answers(host: Ipv4Address, port: number, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = createConnection({ host, port });
      let text = '';
      const settle = (isUp: boolean): void => {
        clearTimeout(deadline);
        socket.destroy();
        resolve(isUp);
      };
      // A forwarded port takes connections before its guest does: only the banner counts. All of it, however slowly it trickles in.
      const deadline = setTimeout(() => settle(false), timeoutMs);
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        if (/^SSH-[^\r\n]*[\r\n]/m.test(text)) settle(true);
        else if (text.length > 4096) settle(false);
      });
      socket.on('error', () => settle(false));
      socket.on('close', () => settle(false));
    });
  }

  async run(endpoint: SshEndpoint, argv: readonly string[], options: RemoteRunOptions): Promise<RemoteResult> {
    const { timeoutMs, keepBytes, signal, input, onOutput } = options;
    const args = [...sshOptions(endpoint), '-p', String(endpoint.port), '-T', '--', target(endpoint), commandLine(argv)];
    const { exitCode, stdout, stderr, truncated } = await runTool('ssh', args, {
      ...{ timeoutMs, signal, keepBytes, input, env },
      anyExitCode: true,
      onOutput: (stream, text) => onOutput?.(stream, guestText(text)),
    });
    // A program may exit 255 by itself: ssh says something when it is its own.
    if (exitCode === sshFailed && isOfSsh(stderr)) throw sshError(endpoint, stderr);
    return { exitCode, stdout: guestText(stdout), stderr: guestText(stderr), truncated };
  }

  interactive(endpoint: SshEndpoint, argv: readonly string[]): Promise<number> {
    const command = argv.length === 0 ? [] : [commandLine(argv)];
    // With a person at the keyboard ssh may ask: for a pass phrase, or whether a key is to be trusted.
    const asking = sshOptions(endpoint).filter((word) => word !== '-oBatchMode=yes');
    return runAttached('ssh', [...asking, '-p', String(endpoint.port), '--', target(endpoint), ...command], { env });
  }

  async copy(endpoint: SshEndpoint, { direction, local, remote, recursive, timeoutMs, signal }: CopyOptions): Promise<void> {
    const there = `${endpoint.user}@${endpoint.host}:${remote}`;
    // A local path with a colon would be taken for a host.
    const here = /^\.{0,2}\//.test(local) ? local : `./${local}`;
    const paths = direction === 'to' ? [here, there] : [there, here];
    const flags = recursive ? ['-r'] : [];
    // Modes that a guest chose are not taken over.
    const times = direction === 'to' ? ['-p'] : [];
    const args = [...sshOptions(endpoint), '-P', String(endpoint.port), '-q', ...times, ...flags, '--', ...paths];
    const { exitCode, stderr } = await runTool('scp', args, { timeoutMs, signal, env, anyExitCode: true });
    if (exitCode !== 0) throw copyError(endpoint, stderr);
  }

  async version(): Promise<string> {
    // ssh says it on stderr.
    return (await runTool('ssh', ['-V'])).stderr.trim();
  }

  config(endpoint: SshEndpoint): string[] {
    return [
      `HostName ${endpoint.host}`,
      `Port ${endpoint.port}`,
      `User ${endpoint.user}`,
      ...(endpoint.identityFile === undefined ? [] : [`IdentityFile ${sshConfigValue(endpoint.identityFile)}`, 'IdentitiesOnly yes']),
      `HostKeyAlias ${endpoint.member}`,
      `UserKnownHostsFile ${sshConfigValue(endpoint.knownHostsFile)}`,
      `StrictHostKeyChecking ${endpoint.isPinned ? 'yes' : 'accept-new'}`,
    ];
  }
}

function sshOptions(endpoint: SshEndpoint): string[] {
  return [
    '-F',
    'none',
    // Not by -i, which looks for the file before it replaces %% by %.
    ...(endpoint.identityFile === undefined
      ? []
      : [`-oIdentityFile=${sshConfigValue(endpoint.identityFile, dollar)}`, '-oIdentitiesOnly=yes']),
    `-oHostKeyAlias=${endpoint.member}`,
    `-oUserKnownHostsFile=${sshConfigValue(endpoint.knownHostsFile, dollar)}`,
    '-oGlobalKnownHostsFile=/dev/null',
    `-oStrictHostKeyChecking=${endpoint.isPinned ? 'yes' : 'accept-new'}`,
    // Learned keys stay those that were learned.
    '-oUpdateHostKeys=no',
    '-oBatchMode=yes',
    '-oLogLevel=ERROR',
    `-oConnectTimeout=${connectSeconds}`,
    '-oServerAliveInterval=15',
    '-oServerAliveCountMax=4',
  ];
}

function target({ user, host }: SshEndpoint): string {
  return `${user}@${host}`;
}

/** sshd gives one line to a shell: every word is quoted, so that it arrives as it was given. */
function commandLine(argv: readonly string[]): string {
  return argv.map(shellWord).join(' ');
}

function isOfSsh(stderr: string): boolean {
  return /^(ssh|kex_exchange|Connection|Permission denied|Host key verification|@@@|Received disconnect|Bad |banner|client_loop|Timeout|Load key|packet_write|Unable to negotiate)/im.test(
    stderr,
  );
}

function copyError(endpoint: SshEndpoint, stderr: string): CowherdError {
  const refused =
    /^scp: (.*(?:No such file|Permission denied|Is a directory|Not a directory|not a regular file|No space|Failure|failed).*)$/im.exec(
      stderr,
    );
  if (refused === null || isOfSsh(stderr)) return sshError(endpoint, stderr);
  return new CowherdError('GUEST_REFUSED', `scp with ${endpoint.member} failed: ${excerpt(refused[1])}`, {
    hint: `Check the paths on both sides, and whether ${endpoint.user} may use them.`,
  });
}

function sshError({ member, host, port, user }: SshEndpoint, stderr: string): CowherdError {
  // The guest's sshd has a say in it.
  const lines = excerptLines(stderr);
  const reason = lines.at(-1) ?? 'no reason given';
  const hint = /Host key verification failed|REMOTE HOST IDENTIFICATION/i.test(stderr)
    ? 'Its host key does not match its seed. If your own user-data does not set ssh_keys, remove {{sshHostKey}} from it as well.'
    : /Permission denied \(/i.test(stderr)
      ? `The guest accepted none of our keys. Spawn with --seed nocloud, which gives the fleet's key to the guests, or choose the user with --ssh-user.`
      : 'Is the guest running, with sshd started in it? "cowherd status" shows whether it is running; --wait ssh waits for sshd.';
  return new CowherdError('GUEST_UNREACHABLE', `ssh to ${member} (${user}@${host}, port ${port}) failed: ${reason}`, {
    details: lines.slice(0, -1),
    hint,
  });
}
