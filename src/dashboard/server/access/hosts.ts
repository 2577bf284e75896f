import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { isLoopback } from '../../../core/host/loopback.js';

/**
 * Names under which a browser may call this server. A page of another site whose name was made to resolve to this address (DNS
 * rebinding) sends that site's name.
 */
export class OwnHosts {
  readonly #names: ReadonlySet<string>;
  readonly #isWildcard: boolean;
  readonly #scheme: 'http' | 'https';

  /** @param more further names of this host, for an address that stands for all of them */
  constructor(address: string, scheme: 'http' | 'https', more: readonly string[] = []) {
    this.#scheme = scheme;
    this.#isWildcard = isWildcard(address);
    const names = this.#isWildcard ? [...more, 'localhost'] : isLocal(address) ? [address, 'localhost'] : [address];
    this.#names = new Set(names.map((name) => inUrl(name).toLowerCase()));
  }

  /** `http://127.0.0.1:7374` if the request is for this server. */
  originOf({ headers, socket }: Pick<IncomingMessage, 'headers' | 'socket'>): string | undefined {
    const { host = '' } = headers;
    const port = socket.localPort;
    const [, name = '', given] = /^(\[[0-9a-f:.]+\]|[^:[\]/@\s]+)(?::(\d{1,5}))?$/i.exec(host) ?? [];
    const usual = this.#scheme === 'https' ? 443 : 80;
    if (name === '' || Number(given ?? usual) !== port) return undefined;
    const isOwn = this.#names.has(name.toLowerCase()) || (this.#isWildcard && name.toLowerCase() === inUrl(plain(socket.localAddress)));
    return isOwn ? `${this.#scheme}://${host}` : undefined;
  }
}

/** Whether an address or name is of this host alone. */
export function isLocal(address: string): boolean {
  return address === 'localhost' || isLoopback(address);
}

export function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** With brackets around an IPv6 address. */
export function inUrl(address: string): string {
  return isIP(address) === 6 ? `[${address}]` : address;
}

/** An IPv4 address that is written as IPv6: `::ffff:192.0.2.1`. */
function plain(address = ''): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}
