import { createConnection } from 'node:net';
import { CowherdError } from '../../core/errors.js';
import { excerpt, excerptLines, guestText } from '../../core/guest/text.js';
import type { Ipv4Address } from '../../core/guest/values.js';
import { shellWord, sshConfigValue } from '../../core/quoting.js';
import type { CopyOptions, RemoteResult, RemoteRunOptions, RemoteShell, SshEndpoint } from '../../ports/index.js';
import { runAttached, runTool } from '../process.js';

/** ssh's connection timeout in seconds, in addition to the command's own time. */
const connectSeconds = 10;
/** ssh's exit code for its own failures, as opposed to those of the remote program. */
const sshFailed = 255;

/** An environment variable that holds `$`, for paths that are passed to ssh. */
const dollar = 'COWHERD_DOLLAR';
const env = { [dollar]: '$' };

/** The OpenSSH client, configured on its command line only: the user's ssh_config is ignored. */
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
      // A forwarded port accepts connections before its guest does, so wait for the whole banner of sshd.
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
    // A program may exit with 255 too, but ssh prints a message for its own failures.
    if (exitCode === sshFailed && isOfSsh(stderr)) throw sshError(endpoint, stderr);
    return { exitCode, stdout: guestText(stdout), stderr: guestText(stderr), truncated };
  }

  interactive(endpoint: SshEndpoint, argv: readonly string[]): Promise<number> {
    const command = argv.length === 0 ? [] : [commandLine(argv)];
    // On a terminal, ssh may ask for a passphrase or whether to trust a key.
    const asking = sshOptions(endpoint).filter((word) => word !== '-oBatchMode=yes');
    return runAttached('ssh', [...asking, '-p', String(endpoint.port), '--', target(endpoint), ...command], { env });
  }

  async copy(endpoint: SshEndpoint, { direction, local, remote, recursive, timeoutMs, signal }: CopyOptions): Promise<void> {
    const there = `${endpoint.user}@${endpoint.host}:${remote}`;
    // A local path with a colon would be read as a host.
    const here = /^\.{0,2}\//.test(local) ? local : `./${local}`;
    const paths = direction === 'to' ? [here, there] : [there, here];
    const flags = recursive ? ['-r'] : [];
    // File modes of a guest are not kept.
    const times = direction === 'to' ? ['-p'] : [];
    const args = [...sshOptions(endpoint), '-P', String(endpoint.port), '-q', ...times, ...flags, '--', ...paths];
    const { exitCode, stderr } = await runTool('scp', args, { timeoutMs, signal, env, anyExitCode: true });
    if (exitCode !== 0) throw copyError(endpoint, stderr);
  }

  async version(): Promise<string> {
    // ssh prints its version to stderr.
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
    // Not -i, which checks for the file before it replaces %% by %.
    ...(endpoint.identityFile === undefined
      ? []
      : [`-oIdentityFile=${sshConfigValue(endpoint.identityFile, dollar)}`, '-oIdentitiesOnly=yes']),
    `-oHostKeyAlias=${endpoint.member}`,
    `-oUserKnownHostsFile=${sshConfigValue(endpoint.knownHostsFile, dollar)}`,
    '-oGlobalKnownHostsFile=/dev/null',
    `-oStrictHostKeyChecking=${endpoint.isPinned ? 'yes' : 'accept-new'}`,
    // Keeps learned keys as they are.
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

/** sshd passes one line to a shell, so every word is quoted. */
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
  // Contains text of the guest's sshd.
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
