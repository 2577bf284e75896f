import type { WebSocket } from 'ws';
import type { ConsoleStream } from '../../../ports/dashboard.js';
import { bridge, closeCodes, closeWith } from './bridge.js';

/** With it, virsh would leave the console. */
const escapeByte = 0x1d;
/** virsh prints it once it is connected, as the last line before the guest's. */
const connectedLine = /Escape character is [^\n]*\n/;
const mostGreeting = 4096;
const mostEnd = 512;

export interface ConsoleOptions {
  isReadOnly: boolean;
}

/** Shows the console in a page until one of both ends. The page gets the bytes of the guest only. */
export function serveConsole(socket: WebSocket, stream: ConsoleStream, { isReadOnly }: ConsoleOptions): void {
  const greeting = new Greeting();
  socket.once('close', () => stream.close());
  bridge(socket, stream, {
    fromBrowser: (bytes) => (isReadOnly ? Buffer.alloc(0) : withoutEscape(bytes)),
    toBrowser: (bytes) => greeting.strip(bytes),
  });
  void stream.ended.then(() => closeWith(socket, greeting.reason, greeting.isInUse ? closeCodes.inUse : closeCodes.refused));
}

/** What virsh and its helpers say before the guest does, and at the end. */
class Greeting {
  #text = '';
  #isOver = false;

  /** @returns the guest's part of the bytes */
  strip(bytes: Buffer): Buffer {
    // One character per byte.
    this.#text += bytes.toString('latin1');
    if (this.#isOver) {
      this.#text = this.#text.slice(-mostEnd);
      return bytes;
    }
    const line = connectedLine.exec(this.#text);
    if (line === null && this.#text.length < mostGreeting) return Buffer.alloc(0);
    this.#isOver = true;
    if (line !== null) this.#text = this.#text.slice(line.index + line[0].length);
    return Buffer.from(this.#text, 'latin1');
  }

  get isInUse(): boolean {
    return /Active console session exists/i.test(this.#text);
  }

  /** Why virsh has ended. After the greeting, the text may be the guest's, so it decides about words only. */
  get reason(): string {
    if (this.isInUse) return 'The console is in use by another user. Take it over to disconnect that user';
    if (this.#isOver) return 'The console was closed: the guest was stopped, or another user took it over';
    const [, said = 'it could not be opened'] = /error: ([^\r\n]{1,80})/.exec(this.#text) ?? [];
    return `The console could not be opened: ${said.replace(/[^\x20-\x7e]/g, '?')}`;
  }
}

function withoutEscape(bytes: Buffer): Buffer {
  return bytes.includes(escapeByte) ? (bytes.filter((byte) => byte !== escapeByte) as Buffer) : bytes;
}
