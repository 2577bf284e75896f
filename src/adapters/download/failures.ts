import { CowherdError } from '../../core/errors.js';
import { excerpt } from '../../core/guest/text.js';
import { shownUrl } from '../../core/image/download/url.js';

/** Why an attempt failed, and whether another one may help. */

const retryHint =
  'Run the same command again: it continues the download. If it fails again, check the network and the proxy (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).';
const otherFileHint = 'Check the URL. A newer file may have replaced this one: open its directory in a browser.';
const authorityHint =
  'If the certificate is from an authority of your own, name the file with its certificate: SSL_CERT_FILE=FILE replaces the authorities of the system, NODE_EXTRA_CA_CERTS=FILE adds to them.';
const loginHint = 'If the file needs a login, write it into the URL: cowherd base pull https://USER:PASSWORD@HOST/FILE --as NAME';
const proxyLoginHint = 'Write user and password into the address of the proxy: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT';

export interface FailureFacts {
  /** Another attempt may succeed. */
  isTransient: boolean;
  /** Without a pause: nothing is wrong with the server. */
  isImmediate?: boolean;
  retryAfterMs?: number;
  hint?: string;
  status?: number;
  cause?: unknown;
}

export class AttemptFailure extends Error {
  readonly facts: FailureFacts;

  /** @param reason continues "Could not download URL: …" */
  constructor(reason: string, facts: FailureFacts) {
    super(reason, { cause: facts.cause });
    this.facts = facts;
  }
}

/** The error for the user. */
export function downloadError(url: URL, { message, facts }: AttemptFailure): CowherdError {
  const hint = facts.hint ?? (facts.isTransient ? retryHint : otherFileHint);
  return new CowherdError('DOWNLOAD_FAILED', `Could not download ${shownUrl(url)}: ${message}`, { hint, cause: facts.cause });
}

export function statusFailure(status: number, isTransient: boolean, retryAfterMs: number): AttemptFailure {
  const meaning: Record<number, string> = {
    401: 'it requires a login',
    403: 'access is forbidden',
    404: 'the file does not exist',
    410: 'the file no longer exists',
    429: 'too many requests',
    503: 'the service is unavailable',
  };
  const words = meaning[status];
  return new AttemptFailure(`the server replied with status ${status}${words === undefined ? '' : `: ${words}`}`, {
    ...{ isTransient, retryAfterMs, status },
    ...(status === 401 || status === 403 ? { hint: loginHint } : {}),
    ...(status === 407 ? { hint: proxyLoginHint } : {}),
  });
}

const reasons: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was closed',
  EPIPE: 'the connection was closed',
  UND_ERR_SOCKET: 'the connection was closed',
  ENETUNREACH: 'the network is unreachable',
  EHOSTUNREACH: 'the host is unreachable',
  ETIMEDOUT: 'there was no reply in time',
  UND_ERR_CONNECT_TIMEOUT: 'no connection was made in time',
  UND_ERR_HEADERS_TIMEOUT: 'there was no reply in time',
  UND_ERR_BODY_TIMEOUT: 'the server stopped sending data',
  EAI_AGAIN: 'the name of the host cannot be resolved at the moment',
  ENOTFOUND: 'the name of the host is unknown',
};

/** Verification errors of OpenSSL and Node.js. */
const certificateCodes =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_CERT|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH|CA_MD_TOO_WEAK)/;

/** What undici or a socket reported. */
export function connectionFailure(error: unknown): AttemptFailure {
  if (error instanceof AttemptFailure) return error;
  const cause = innermost(error);
  const code = 'code' in cause ? String(cause.code) : '';
  const certificate = certificateCodes.test(code) || code === 'UND_ERR_PRX_TLS';
  if (certificate) {
    return new AttemptFailure(`the certificate of the server cannot be verified: ${excerpt(cause.message)}`, {
      ...{ isTransient: false, cause: error, hint: authorityHint },
    });
  }
  const proxyStatus = Number(/Proxy response \((\d{3})\)|\((407)\)$/.exec(cause.message)?.slice(1).find(Boolean) ?? 0);
  if (proxyStatus > 0) {
    return new AttemptFailure(`the proxy replied with status ${proxyStatus}${proxyStatus === 407 ? ': it requires a login' : ''}`, {
      ...{ isTransient: proxyStatus >= 500, cause: error },
      hint: proxyStatus === 407 ? proxyLoginHint : retryHint,
    });
  }
  return new AttemptFailure(reasons[code] ?? excerpt(cause.message), {
    // A host that does not exist, and a reply that is not HTTP.
    isTransient: code !== 'ENOTFOUND' && !code.startsWith('HPE_') && code !== 'UND_ERR_HEADERS_OVERFLOW' && code !== 'UND_ERR_INVALID_ARG',
    cause: error,
  });
}

/** With several addresses, Node.js reports one error for each; undici puts some into others. */
function innermost(error: unknown): Error {
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return innermost(error.errors[0]);
  if (!(error instanceof Error)) return new Error(String(error));
  const isWrapper = error.cause instanceof Error && (!('code' in error) || error.code === 'UND_ERR_PRX_TLS');
  return isWrapper ? innermost(error.cause) : error;
}
