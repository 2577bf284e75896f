import { type IncomingHttpHeaders, request } from 'node:http';
import WebSocket from 'ws';
import type { HerdChange, HerdView } from '../../src/dashboard/protocol.js';

export interface Answered {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: any;
}

/** A browser that is signed in to a dashboard, without a page. */
export class DashboardClient {
  readonly origin: string;
  cookie = '';
  base = '/';

  /** @param url with a token */
  constructor(readonly url: string) {
    this.origin = new URL(url).origin;
  }

  /** Uses the token. */
  async signIn(): Promise<Answered> {
    const { pathname, search } = new URL(this.url);
    const answer = await this.send('GET', `${pathname}${search}`);
    this.cookie = answer.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
    this.base = answer.headers.location ?? '/';
    return answer;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answered> {
    return this.send('GET', `${this.base}${path}`, { Cookie: this.cookie, ...headers });
  }

  post(path: string, document: unknown, headers: Record<string, string> = {}): Promise<Answered> {
    const own = { Cookie: this.cookie, Origin: this.origin, 'Content-Type': 'application/json' };
    return this.send(
      'POST',
      `${this.base}${path}`,
      { ...own, ...headers },
      typeof document === 'string' ? document : JSON.stringify(document),
    );
  }

  send(method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<Answered> {
    const { hostname, port } = new URL(this.origin);
    return new Promise((resolve, reject) => {
      const sent = request({ method, path, headers, host: hostname, port, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const isJson = response.headers['content-type']?.startsWith('application/json') === true;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined });
        });
        response.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** Listens to the stream. */
  stream(lastId?: string): DashboardStream {
    return new DashboardStream(this, lastId);
  }

  /** @returns what was received so far as text, and why it was closed */
  socket(path: string, headers: Record<string, string> = {}): DashboardSocket {
    return new DashboardSocket(
      new WebSocket(`${this.origin.replace('http', 'ws')}${this.base}${path}`, {
        headers: { Cookie: this.cookie, Origin: this.origin, ...headers },
      }),
    );
  }
}

export class DashboardStream {
  view: HerdView | undefined;
  readonly changes: HerdChange[] = [];
  lastId = '';
  status = 0;
  readonly #end: () => void;

  constructor({ origin, base, cookie }: DashboardClient, lastId?: string) {
    const { hostname, port } = new URL(origin);
    const headers = { Cookie: cookie, ...(lastId === undefined ? {} : { 'Last-Event-ID': lastId }) };
    const sent = request({ path: `${base}api/stream`, headers, host: hostname, port, agent: false }, (response) => {
      this.status = response.statusCode ?? 0;
      let rest = '';
      response.on('data', (chunk: Buffer) => {
        const parts = (rest + chunk).split('\n\n');
        rest = parts.pop() ?? '';
        for (const part of parts) this.#receive(part);
      });
      response.on('error', () => undefined);
    });
    sent.on('error', () => undefined);
    sent.end();
    this.#end = () => sent.destroy();
  }

  close(): void {
    this.#end();
  }

  /** The latest value of something that changes hold. */
  find<T>(pick: (change: Partial<HerdView> | HerdChange) => T | undefined): T | undefined {
    return [this.view, ...this.changes].flatMap((one) => (one === undefined ? [] : [pick(one)])).findLast((value) => value !== undefined);
  }

  #receive(text: string): void {
    const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1];
    const data = field('data');
    if (data === undefined) return;
    this.lastId = field('id') ?? this.lastId;
    if (field('event') === 'state') this.view = JSON.parse(data);
    else this.changes.push(JSON.parse(data));
  }
}

export class DashboardSocket {
  text = '';
  closed: { code: number; reason: string } | undefined;
  /** The status of an answer that is no WebSocket. */
  refused = 0;
  isOpen = false;

  constructor(readonly socket: WebSocket) {
    socket.on('open', () => {
      this.isOpen = true;
    });
    socket.on('message', (data: Buffer) => {
      this.text += data.toString('latin1');
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    socket.on('unexpected-response', (_, { statusCode = 0 }) => {
      this.refused = statusCode;
    });
    socket.on('error', () => undefined);
  }
}
