import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { vncAddress } from '../../../core/domain/graphics.js';
import type { ErrorReport } from '../../../core/errors.js';
import { namePattern } from '../../../core/names.js';
import type { Host } from '../../../host.js';
import { assertOn, type FoundMember } from '../../../services/fleet/members.js';
import type { Access } from '../access/access.js';
import { loadMember } from '../member/member.js';
import { Refused, readOnlyRefusal, refusalOf } from '../refusal.js';
import { closeWith } from './bridge.js';
import { serveConsole } from './console.js';
import { serveVnc } from './vnc.js';

/** Consoles and screens together. */
const mostSockets = 16;
const mostMessageBytes = 256 * 1024;

const pathPattern = /^api\/fleets\/([^/]{1,40})\/members\/(\d{1,6})\/(console|vnc)$/;

export interface SocketParts {
  host: Host;
  access: Access;
  isReadOnly: boolean;
  withFlagsIn: (document: unknown) => unknown;
}

interface Wanted {
  fleet: string;
  index: number;
  what: 'console' | 'vnc';
  isForced: boolean;
}

/** WebSockets for consoles and screens. */
export class Sockets {
  readonly #parts: SocketParts;
  readonly #server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: mostMessageBytes, clientTracking: true });

  constructor(parts: SocketParts) {
    this.#parts = parts;
  }

  /** For the event `upgrade` of the server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const admission = this.#parts.access.admit(request, { isSocket: true });
    if (!('origin' in admission)) {
      this.#deny(socket, admission.status, admission.error);
      return;
    }
    try {
      const wanted = this.#wanted(request);
      this.#server.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', () => webSocket.terminate());
        this.#serve(webSocket, wanted).catch((error: unknown) => closeWith(webSocket, refusalOf(error).error.message));
      });
    } catch (error) {
      const { status, error: report } = refusalOf(error);
      this.#deny(socket, status, report);
    }
  }

  close(): void {
    for (const socket of this.#server.clients) {
      socket.close(1001, 'The dashboard was stopped');
      socket.terminate();
    }
    this.#server.close();
  }

  /** @throws Refused */
  #wanted({ url = '' }: IncomingMessage): Wanted {
    const [path = '', query = ''] = url.slice(this.#parts.access.sessions.base.length).split('?', 2);
    const [, fleet = '', index, what] = pathPattern.exec(path) ?? [];
    if (!namePattern.test(fleet) || (what !== 'console' && what !== 'vnc')) throw new Refused(404, 'NOT_FOUND', 'Not found');
    const isForced = new URLSearchParams(query).get('force') === '1';
    // A screen cannot be shown without its input, and force disconnects another user.
    if (this.#parts.isReadOnly && (what === 'vnc' || isForced)) throw readOnlyRefusal();
    if (this.#server.clients.size >= mostSockets)
      throw new Refused(503, 'TOO_MANY_CONSOLES', `${mostSockets} consoles and screens are open`, 'Close one of them.');
    return { fleet, index: Number(index), what, isForced };
  }

  async #serve(socket: WebSocket, { fleet, index, what, isForced }: Wanted): Promise<void> {
    const { host, isReadOnly } = this.#parts;
    // What the browser sends meanwhile.
    socket.pause();
    const found = await loadMember(host, fleet, index);
    await assertOn(host, found);
    const address = what === 'vnc' ? await this.#screenOf(found) : undefined;
    if (socket.readyState !== socket.OPEN) return;
    if (address === undefined) serveConsole(socket, host.dashboard.console(found.member.name, { force: isForced }), { isReadOnly });
    else serveVnc(socket, address);
    socket.resume();
  }

  async #screenOf({ member: { name } }: FoundMember): Promise<Exclude<ReturnType<typeof vncAddress>, 'elsewhere' | undefined>> {
    const xml = await this.#parts.host.domains.running(name);
    const address = xml === undefined ? undefined : vncAddress(xml);
    if (address === undefined) throw new Refused(409, 'NOT_SUPPORTED', `${name} has no VNC screen`);
    if (address === 'elsewhere') throw new Refused(409, 'NOT_SUPPORTED', `The VNC server of ${name} does not listen on this host alone`);
    return address;
  }

  #deny(socket: Duplex, status: number, error: ErrorReport): void {
    const body = JSON.stringify(this.#parts.withFlagsIn({ error }));
    const lines = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Connection: close',
      'Content-Type: application/json',
      'X-Content-Type-Options: nosniff',
      'Cache-Control: no-store',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
  }
}
