import type { IncomingMessage } from 'node:http';
import type { ErrorReport } from '../../../core/errors.js';
import type { OwnHosts } from './hosts.js';
import type { Sessions } from './sessions.js';
import type { OneTimeToken } from './tokens.js';

export interface Denied {
  status: 401 | 403 | 404 | 421;
  error: ErrorReport;
}

export type Admission = { origin: string } | Denied;

/** Decides about each request before anything else is done with it. */
export class Access {
  readonly #hosts: OwnHosts;
  readonly #token: OneTimeToken;
  readonly sessions: Sessions;

  constructor(hosts: OwnHosts, sessions: Sessions, token: OneTimeToken) {
    this.#hosts = hosts;
    this.sessions = sessions;
    this.#token = token;
  }

  /** A request for a page or the API. */
  admit(request: Pick<IncomingMessage, 'headers' | 'socket' | 'method' | 'url'>, { isSocket = false } = {}): Admission {
    const origin = this.#hosts.originOf(request);
    if (origin === undefined) return denied(421, 'WRONG_HOST', 'This server does not have that name', 'Open the URL that it printed.');
    if (!(request.url ?? '').startsWith(this.sessions.base)) return denied(404, 'NOT_FOUND', 'Not found');
    const { origin: from, 'sec-fetch-site': site } = request.headers;
    const isRead = request.method === 'GET' && !isSocket;
    // A browser always sends Origin with these. Other servers on this host are the same site, but not the same origin.
    if (isRead ? !isOwnSite(site) : from !== origin) return denied(403, 'CROSS_SITE', 'The request is from another site');
    if (!this.sessions.isValid(request.headers.cookie)) {
      return denied(
        401,
        'NO_SESSION',
        'This browser is not signed in, or its session has ended',
        'Open the URL that "cowherd dashboard" shows.',
      );
    }
    return { origin };
  }

  /** A request with a token in its URL, from anywhere. @returns the cookie of a new session */
  signIn(request: Pick<IncomingMessage, 'headers' | 'socket'>, token: string): { cookie: string } | Denied {
    if (this.#hosts.originOf(request) === undefined) return denied(421, 'WRONG_HOST', 'This server does not have that name');
    // A browser that loads pages in advance would use up the token.
    const isAhead = /prefetch|prerender/.test(String(request.headers['sec-purpose'] ?? request.headers.purpose ?? ''));
    if (isAhead || !this.#token.use(token)) {
      return denied(
        403,
        'WRONG_TOKEN',
        'The token in this URL is wrong, or was used',
        'Each URL works once. "cowherd dashboard" shows a new one.',
      );
    }
    return { cookie: this.sessions.cookie() };
  }
}

function isOwnSite(site: string | string[] | undefined): boolean {
  return site === undefined || site === 'same-origin' || site === 'none';
}

function denied(status: Denied['status'], code: string, message: string, hint?: string): Denied {
  return { status, error: { code, message, ...(hint === undefined ? {} : { hint }) } };
}
