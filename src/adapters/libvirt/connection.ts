import { CowherdError } from '../../core/errors.js';
import { runTool } from '../process.js';

const systemUri = 'qemu:///system';
const sessionUri = 'qemu:///session';

export function isSystemUri(uri: string): boolean {
  return /\/system(\?.*)?$/.test(uri);
}

/**
 * The connection to use: the given one, else LIBVIRT_DEFAULT_URI, else the system daemon if this user may use it, else the
 * user's own session daemon.
 * @throws NOT_SUPPORTED for other hosts and for drivers other than QEMU
 */
export async function chooseConnection(asked: string | undefined, isRoot: boolean): Promise<string> {
  const wanted = asked ?? (process.env.LIBVIRT_DEFAULT_URI || undefined);
  if (wanted !== undefined) return assertUri(wanted);
  if (isRoot) return systemUri;
  const answer = await runTool('virsh', ['-q', '-c', systemUri, 'uri'], { timeoutMs: 15_000, acceptedExitCodes: [0, 1] });
  return answer.exitCode === 0 ? systemUri : sessionUri;
}

/** The connection that virsh uses without -c. */
export function virshDefault(): string {
  return process.env.LIBVIRT_DEFAULT_URI || (process.getuid?.() === 0 ? systemUri : sessionUri);
}

export function assertUri(uri: string): string {
  const match = /^([a-z0-9]+)(\+[a-z0-9]+)?:\/\/([^/]*)\/(.*)$/i.exec(uri);
  if (match === null) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(uri)} is not a libvirt connection URI`, {
      hint: `Use ${systemUri} or ${sessionUri}.`,
    });
  }
  const [, driver, transport, host, path = ''] = match;
  if ((host ?? '') !== '' || (transport !== undefined && transport !== '+unix')) {
    throw new CowherdError('NOT_SUPPORTED', `${uri} is on another host, which cowherd does not support`, {
      hint: 'The base image and the overlays must be on the host that runs the guests. Log in there and run cowherd on it.',
    });
  }
  if (driver !== 'qemu' || !/^(system|session)(\?.*)?$/.test(path)) {
    throw new CowherdError('NOT_SUPPORTED', `${uri} is not a connection to QEMU on this host`, {
      hint: `Use ${systemUri} or ${sessionUri}.`,
    });
  }
  return uri;
}
