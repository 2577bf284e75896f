import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { CowherdError } from '../../core/errors.js';
import { isLocal } from './access/hosts.js';

export const defaultPort = 7374;
export const defaultAddress = '127.0.0.1';

export interface ListenOptions {
  /** Default: {@link defaultPort}, or a free one if that is in use. */
  port?: number | undefined;
  address: string;
  tls?: { cert: Buffer; key: Buffer } | undefined;
}

/** @throws BAD_USAGE: whoever reads the traffic on a network could use the session */
export function assertSafe({ address, tls }: ListenOptions): void {
  if (tls !== undefined || isLocal(address)) return;
  throw new CowherdError('BAD_USAGE', `Listening on ${address} needs TLS: others could read the traffic, and act as you`, {
    hint: `Add --tls-cert FILE --tls-key FILE. Or leave out --listen, and forward the port: ssh -L ${defaultPort}:127.0.0.1:${defaultPort} HOST`,
  });
}

/** @throws BAD_USAGE */
export function makeServer(listener: RequestListener, tls: ListenOptions['tls']): Server {
  // Headers of other requests are not of interest; more than these are an attack.
  const limits = { maxHeaderSize: 16 * 1024, headersTimeout: 20_000, requestTimeout: 60_000 };
  if (tls === undefined) return createServer(limits, listener);
  try {
    return createTlsServer({ ...limits, ...tls, minVersion: 'TLSv1.2' }, listener);
  } catch (cause) {
    throw new CowherdError('BAD_USAGE', `The TLS certificate or key cannot be used: ${cause instanceof Error ? cause.message : cause}`, {
      hint: 'Both must be PEM files, and belong to each other.',
      cause,
    });
  }
}

/** @returns the port @throws BAD_USAGE */
export async function listen(server: Server, { port, address }: ListenOptions): Promise<number> {
  try {
    return await attempt(server, address, port ?? defaultPort);
  } catch (error) {
    if (port === undefined && codeOf(error) === 'EADDRINUSE') return attempt(server, address, 0);
    throw error;
  }
}

function attempt(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException): void => reject(listenError(host, port, cause));
    server.once('error', failed);
    server.listen({ host, port }, () => {
      server.off('error', failed);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function codeOf(error: unknown): unknown {
  return error instanceof CowherdError ? (error.cause as NodeJS.ErrnoException | undefined)?.code : undefined;
}

function listenError(host: string, port: number, cause: NodeJS.ErrnoException): CowherdError {
  const { code, message } = cause;
  if (code === 'EADDRINUSE') {
    return new CowherdError('BAD_USAGE', `Port ${port} of ${host} is in use`, {
      hint: 'Choose another one with --port, or leave it out: a free one is used if the default is taken. "ss -ltnp" shows what uses it.',
      cause,
    });
  }
  const hint =
    code === 'EACCES' ? 'Ports below 1024 need root. Choose a higher one with --port.' : 'Give an address of this host with --listen.';
  return new CowherdError('BAD_USAGE', `Could not listen on port ${port} of ${host}: ${message}`, { hint, cause });
}
