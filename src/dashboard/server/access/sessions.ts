import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SessionKeys } from '../../../ports/dashboard.js';

const cookieName = 'cowherd';
const lifeMs = 12 * 3_600_000;
const cookiePattern = /^([0-9a-f]{32})\.(\d{1,15})\.([0-9a-f]{64})$/;

/**
 * Sessions are signed cookies, so a server that was started again accepts them. Cookies are not bound to a port: a server of another user
 * on 127.0.0.1 would receive one for the path /. So all pages are below a path that others do not know.
 */
export class Sessions {
  /** `/SECRET/` */
  readonly base: string;
  readonly #secret: Buffer;
  readonly #isSecure: boolean;
  readonly #now: () => number;

  constructor({ secret, prefix }: SessionKeys, options: { isSecure: boolean; now: () => number }) {
    this.base = `/${prefix}/`;
    this.#secret = secret;
    this.#isSecure = options.isSecure;
    this.#now = options.now;
  }

  /** The value of Set-Cookie for a new session. */
  cookie(): string {
    const content = `${randomBytes(16).toString('hex')}.${this.#now() + lifeMs}`;
    const value = `${content}.${this.#sign(content).toString('hex')}`;
    const attributes = `Path=${this.base}; Max-Age=${lifeMs / 1000}; HttpOnly; SameSite=Strict`;
    return `${cookieName}=${value}; ${attributes}${this.#isSecure ? '; Secure' : ''}`;
  }

  /** @param header the value of Cookie */
  isValid(header: string | undefined): boolean {
    return (header ?? '').split(';').some((part) => {
      const [name, value = ''] = part.trim().split('=');
      return name === cookieName && this.#isSigned(value);
    });
  }

  #isSigned(value: string): boolean {
    const [, id, expires, mac] = cookiePattern.exec(value) ?? [];
    if (id === undefined || expires === undefined || mac === undefined) return false;
    const isGenuine = timingSafeEqual(Buffer.from(mac, 'hex'), this.#sign(`${id}.${expires}`));
    const left = Number(expires) - this.#now();
    return isGenuine && left > 0 && left <= lifeMs;
  }

  #sign(content: string): Buffer {
    return createHmac('sha256', this.#secret).update(`cowherd dashboard session ${content}`).digest();
  }
}
