import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** One token at a time. It opens one session; then there is a new one for another browser. */
export class OneTimeToken {
  #token = newToken();

  get current(): string {
    return this.#token;
  }

  /** @returns whether it was the token; if so, it is no longer */
  use(given: string): boolean {
    if (!timingSafeEqual(digest(given), digest(this.#token))) return false;
    this.#token = newToken();
    return true;
  }
}

function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** Of equal length, as the comparison needs. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
