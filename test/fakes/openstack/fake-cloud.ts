import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Exchange, placeholderOf, type Recording, type ServiceName, serviceNames } from './recording.js';
import { Replay } from './replay.js';

/** A request as the fake received it. */
export interface Received {
  service: ServiceName;
  method: string;
  path: string;
  request: unknown;
  /** Bytes of the body. */
  bytes: number;
  /** The body, if it is not JSON. */
  raw: Buffer | undefined;
  token: string | undefined;
  headers: IncomingMessage['headers'];
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  reply?: unknown;
}

/**
 * What goes wrong with a request. silence: no reply, ever. lost: the server acts, but closes the connection without a reply.
 * refused: the connection is closed before the server acts. cut: the reply breaks off in its middle. Or a reply instead of the work.
 */
export type FaultKind = 'silence' | 'lost' | 'refused' | 'cut' | Reply;

export interface Fault {
  matches(request: Received): boolean;
  kind: FaultKind;
  /** How often. */
  times: number;
}

/** Answers requests in place of the recording. undefined: not this one. */
export type Handler = (request: Received) => Reply | undefined;

/** Readable without a token. */
const versionDocument = /^\/?(v2\.1|versions)?\/?$/;

/** A cloud on 127.0.0.1 that answers from a recording, and fails when told to. */
export class FakeCloud {
  readonly received: Received[] = [];
  /** Requests without an answer: a test expects none. */
  readonly unknown: string[] = [];
  /** Requests that are being answered, and the most at once. */
  inFlight = 0;
  mostInFlight = 0;
  /** ms before each reply. */
  delayMs = 0;
  readonly #faults: Fault[] = [];
  readonly #handlers: Handler[] = [];
  readonly #tokens = new Set<string>();
  #issued = 0;
  readonly #replay: Replay;
  readonly #server: Server;

  private constructor(recording: Recording) {
    this.#replay = new Replay(recording);
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(recording: Recording = { about: '', exchanges: [] }): Promise<FakeCloud> {
    const fake = new FakeCloud(recording);
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  urlOf(service: ServiceName): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${service}`;
  }

  /** Variables for a login. */
  get environment(): Record<string, string> {
    return {
      ...{ OS_AUTH_URL: `${this.urlOf('identity')}/v3`, OS_USERNAME: 'user', OS_PASSWORD: 'correct-horse', OS_PROJECT_NAME: 'project' },
      OS_REGION_NAME: 'RegionOne',
    };
  }

  /** The next requests that match fail. @returns takes it back */
  fail(matches: (request: Received) => boolean, kind: FaultKind, times = 1): () => void {
    const fault = { matches, kind, times };
    this.#faults.push(fault);
    return () => {
      fault.times = 0;
    };
  }

  /** Answers requests in place of the recording; the last handler is asked first. */
  on(handler: Handler): void {
    this.#handlers.unshift(handler);
  }

  /** All tokens so far are refused from now on. */
  expireTokens(): void {
    this.#tokens.clear();
  }

  /** How many requests of a method were received for paths that match. */
  count(method: string, path: RegExp): number {
    return this.received.filter((one) => one.method === method && path.test(one.path)).length;
  }

  async #handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const received = await receive(message);
    this.received.push(received);
    this.inFlight++;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    response.on('close', () => this.inFlight--);
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const fault = this.#faults.find((one) => one.times > 0 && one.matches(received));
    if (fault !== undefined) fault.times--;
    const kind = fault?.kind;
    if (kind === 'silence') return;
    if (kind === 'refused') return void response.destroy();
    const reply = typeof kind === 'object' ? kind : this.#answer(received);
    if (kind === 'lost') return void response.destroy();
    this.#send(response, reply, kind === 'cut');
  }

  #answer(received: Received): Reply {
    const isLogin = received.service === 'identity' && received.method === 'POST';
    const isOpen = received.service === 'identity' || versionDocument.test(received.path);
    if (!isOpen && !this.#tokens.has(received.token ?? '')) {
      return {
        status: 401,
        reply: { error: { code: 401, title: 'Unauthorized', message: 'The request you have made requires authentication.' } },
      };
    }
    for (const handler of this.#handlers) {
      const reply = handler(received);
      if (reply !== undefined) return isLogin ? this.#withToken(reply) : reply;
    }
    const recorded: Exchange | undefined = this.#replay.answer(received);
    if (recorded !== undefined) return isLogin ? this.#withToken(recorded) : recorded;
    this.unknown.push(`${received.service} ${received.method} ${received.path} ${JSON.stringify(received.request) ?? ''}`);
    return { status: 418, reply: { error: { message: `not recorded: ${received.method} ${received.path}` } } };
  }

  #withToken(reply: Reply): Reply {
    if (reply.status !== 201) return reply;
    const token = `token-of-the-fake-${++this.#issued}`;
    this.#tokens.add(token);
    return { ...reply, headers: { ...reply.headers, 'x-subject-token': token } };
  }

  #send(response: ServerResponse, { status, headers = {}, reply }: Reply, isCut: boolean): void {
    let text = reply === undefined ? '' : typeof reply === 'string' ? reply : JSON.stringify(reply);
    for (const service of serviceNames) text = text.replaceAll(placeholderOf(service), this.urlOf(service));
    const type = typeof reply === 'string' ? 'text/html' : 'application/json';
    const body = Buffer.from(text);
    response.writeHead(status, { 'content-type': type, ...headers, ...(status === 204 ? {} : { 'content-length': body.length }) });
    if (!isCut) return void response.end(body);
    response.write(body.subarray(0, body.length / 2), () => response.destroy());
  }
}

async function receive(message: IncomingMessage): Promise<Received> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const [, service = '', rest = ''] = /^\/(\w+)(.*)$/.exec(message.url ?? '') ?? [];
  const isJson = message.headers['content-type']?.includes('json') === true && body.length > 0;
  return {
    ...{ service: service as ServiceName, method: message.method ?? '', path: rest, bytes: body.length, headers: message.headers },
    request: isJson ? JSON.parse(body.toString('utf8')) : undefined,
    raw: isJson || body.length === 0 ? undefined : body,
    token: [message.headers['x-auth-token']].flat()[0],
  };
}
