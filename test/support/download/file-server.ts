import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Fault } from './faults.js';
import { reply, replyWithFault } from './replies.js';

export interface ServedFile {
  content: Buffer;
  /** Default: from the content. Null for none. */
  etag?: string | null;
  lastModified?: string | undefined;
  contentType?: string;
  /** Default: true. */
  ranges?: boolean;
  /** Requires this login, as `user:password`. */
  login?: string;
  /** For the next GET requests, one each; undefined is a normal reply. */
  faults?: Array<Fault | undefined>;
  /** For all further GET requests. */
  always?: Fault;
  /** Also, or only, refuses HEAD with this status. */
  headStatus?: number;
}

export interface LoggedRequest {
  method: string;
  path: string;
  host: string | undefined;
  range: string | undefined;
  ifRange: string | undefined;
  authorization: string | undefined;
  acceptEncoding: string | undefined;
}

/** Serves files over HTTP on 127.0.0.1, with ranges, validators and faults, and logs requests. Files can be replaced at any time. */
export class FileServer {
  readonly requests: LoggedRequest[] = [];
  readonly #files = new Map<string, ServedFile>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #scheme: string;
  readonly #logFile: string | undefined;

  private constructor(tls: { key: string; cert: string } | undefined, logFile: string | undefined) {
    const answer = (request: IncomingMessage, response: ServerResponse): void => this.#answer(request, response);
    this.#server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer);
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#logFile = logFile;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('tlsClientError', () => undefined);
  }

  /** @param options.logFile gets a line of JSON per request, also for other processes */
  static async start({ tls, logFile }: { tls?: { key: string; cert: string }; logFile?: string } = {}): Promise<FileServer> {
    const server = new FileServer(tls, logFile);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  url(path: string, host = '127.0.0.1'): string {
    return `${this.#scheme}://${host}:${this.port}${path}`;
  }

  /** Adds or replaces a file. @returns its URL */
  serve(path: string, file: ServedFile | Buffer | string): string {
    const isContent = typeof file === 'string' || Buffer.isBuffer(file);
    this.#files.set(path, isContent ? { content: Buffer.from(file) } : file);
    return this.url(path);
  }

  /** Requests for a path, e.g. `GET`. */
  count(path: string, method = 'GET'): number {
    return this.requests.filter((request) => request.path === path && request.method === method).length;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    const { host, range, authorization, 'if-range': ifRange, 'accept-encoding': acceptEncoding } = request.headers;
    const logged = { method: request.method ?? '', path, host, range, ifRange: ifRange?.toString(), authorization };
    const entry = { ...logged, acceptEncoding: acceptEncoding?.toString() };
    this.requests.push(entry);
    if (this.#logFile !== undefined) appendFileSync(this.#logFile, `${JSON.stringify(entry)}\n`);
    response.on('error', () => undefined);
    const file = this.#files.get(path);
    if (file === undefined) return void response.writeHead(404).end('not found\n');
    if (file.login !== undefined && authorization !== `Basic ${Buffer.from(file.login).toString('base64')}`) {
      return void response.writeHead(401, { 'www-authenticate': 'Basic' }).end('login\n');
    }
    if (request.method === 'HEAD' && file.headStatus !== undefined) return void response.writeHead(file.headStatus).end();
    const fault = request.method === 'HEAD' ? redirectOf(file) : nextFault(file);
    if (fault === undefined) reply(request, response, file);
    else void replyWithFault(request, response, file, fault);
  }
}

/** A file that is always redirected is so for HEAD, too. */
function redirectOf({ always }: ServedFile): Fault | undefined {
  return always?.kind === 'redirect' ? always : undefined;
}

function nextFault({ faults = [], always }: ServedFile): Fault | undefined {
  return faults.length > 0 ? faults.shift() : always;
}

export function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** The same bytes for the same seed, with a hole in the middle. */
export function imageContent(bytes: number, seed = 'a'): Buffer {
  const content = Buffer.alloc(bytes);
  let block = createHash('sha512').update(seed).digest();
  for (let at = 0; at < bytes; at += block.length) {
    block.copy(content, at);
    if (at % 4096 === 0) block = createHash('sha512').update(block).digest();
  }
  content.fill(0, Math.floor(bytes * 0.4), Math.floor(bytes * 0.6));
  return content;
}
