import { CowherdError } from '../../../core/errors.js';

/** The cloud that a connection URI names. */
export interface CloudName {
  /** Name in clouds.yaml; undefined: the OS_* environment variables. */
  cloud: string | undefined;
}

/** Whether a connection URI is for this engine. */
export function isOpenStackUri(uri: string): boolean {
  return /^openstack:/i.test(uri);
}

/**
 * Parses `openstack://CLOUD` or `openstack:///`.
 * @throws BAD_USAGE
 */
export function parseOpenStackUri(uri: string): CloudName {
  const name = /^openstack:\/\/([^/?#@\s]*)\/?$/i.exec(uri)?.[1];
  if (name === undefined) throw invalidUri();
  try {
    return { cloud: name === '' ? undefined : decodeURIComponent(name) };
  } catch (cause) {
    throw invalidUri(cause);
  }
}

// The URI is not quoted: it may contain a password.
function invalidUri(cause?: unknown): CowherdError {
  return new CowherdError('BAD_USAGE', 'The connection is not a valid OpenStack URI', {
    hint: 'Use openstack://CLOUD with a name from clouds.yaml, or openstack:/// for the OS_* variables. Credentials do not belong into the URI.',
    cause,
  });
}
