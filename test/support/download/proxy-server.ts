import { createServer, type IncomingMessage, type Server, type ServerResponse, request as send } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** An HTTP proxy on 127.0.0.1: tunnels for https, forwarding for http. */
export class ProxyServer {
  /** `CONNECT host:port` or `GET http://…`. */
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #login: string | undefined;

  private constructor(login: string | undefined) {
    this.#login = login;
    this.#server = createServer((request, response) => this.#forward(request, response));
    this.#server.on('connect', (request: IncomingMessage, client: Socket) => this.#tunnel(request, client));
    this.#server.on('connection', (socket: Socket) => this.#keep(socket));
  }

  /** @param options.login what it requires, as `user:password` */
  static async start({ login }: { login?: string } = {}): Promise<ProxyServer> {
    const proxy = new ProxyServer(login);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
  }

  #isAllowed(request: IncomingMessage): boolean {
    const wanted = this.#login === undefined ? undefined : `Basic ${Buffer.from(this.#login).toString('base64')}`;
    return wanted === undefined || request.headers['proxy-authorization'] === wanted;
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url}`);
    if (!this.#isAllowed(request)) return void response.writeHead(407).end();
    const { 'proxy-authorization': _, ...headers } = request.headers;
    const onward = send(request.url ?? '', { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.writeHead(502).end());
    request.pipe(onward);
  }

  #tunnel(request: IncomingMessage, client: Socket): void {
    this.requests.push(`CONNECT ${request.url}`);
    if (!this.#isAllowed(request)) return void client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    const [host = '', port = ''] = (request.url ?? '').split(':');
    const server = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      server.pipe(client);
      client.pipe(server);
    });
    this.#keep(server);
    server.on('error', () => client.destroy());
  }
}
