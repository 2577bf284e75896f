import type { Readable, Writable } from 'node:stream';
import type { RawData, WebSocket } from 'ws';

/** Bytes that the browser has not read yet: the other side waits at the first, and continues at the second. */
const unsent = { most: 1024 * 1024, least: 256 * 1024 };
/** For the other side to read what a browser sent, in milliseconds. While it waits, a browser that has gone is not noticed. */
const stallMs = 30_000;
/** How often to ask the browser whether it is still there, in milliseconds. */
const pingMs = 30_000;
/** Codes with which a connection is closed. */
export const closeCodes = { refused: 4000, inUse: 4001 };
/** Of a close frame, in bytes. */
const mostReasonBytes = 123;

export interface Ends {
  input: Writable;
  output: Readable;
}

/** What is passed on; default: everything. */
export interface Filters {
  fromBrowser?: (bytes: Buffer) => Buffer;
  toBrowser?: (bytes: Buffer) => Buffer;
}

/** Connects a WebSocket with a stream. Each side waits for the other. */
export function bridge(socket: WebSocket, { input, output }: Ends, { fromBrowser, toBrowser }: Filters = {}): void {
  output.on('data', (chunk: Buffer) => {
    const bytes = toBrowser?.(chunk) ?? chunk;
    if (socket.readyState !== socket.OPEN || bytes.length === 0) return;
    socket.send(bytes, { binary: true }, () => {
      if (socket.bufferedAmount <= unsent.least && output.isPaused()) output.resume();
    });
    if (socket.bufferedAmount > unsent.most) output.pause();
  });
  socket.on('message', (data: RawData) => {
    const given = bytesOf(data);
    const bytes = fromBrowser?.(given) ?? given;
    if (bytes.length === 0 || input.destroyed || input.write(bytes)) return;
    socket.pause();
    const stalled = setTimeout(() => closeWith(socket, 'The guest does not read what is typed'), stallMs);
    input.once('drain', () => {
      clearTimeout(stalled);
      socket.resume();
    });
    socket.once('close', () => clearTimeout(stalled));
  });
  keepAlive(socket);
}

/** @param reason in words, for the page */
export function closeWith(socket: WebSocket, reason: string, code = closeCodes.refused): void {
  let text = reason;
  while (Buffer.byteLength(text) > mostReasonBytes) text = `${text.slice(0, -2)}…`.replace(/…+$/, '…');
  // A paused socket would not see the answer.
  socket.resume();
  socket.close(code, text);
}

function keepAlive(socket: WebSocket): void {
  let isAlive = true;
  socket.on('pong', () => {
    isAlive = true;
  });
  const timer = setInterval(() => {
    if (socket.isPaused) return;
    if (!isAlive) return socket.terminate();
    isAlive = false;
    socket.ping();
  }, pingMs);
  socket.once('close', () => clearInterval(timer));
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
