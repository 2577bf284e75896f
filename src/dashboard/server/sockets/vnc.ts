import { connect, type Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { VncAddress } from '../../../core/domain/graphics.js';
import { bridge, closeWith } from './bridge.js';

const connectMs = 10_000;

/** Connects a page with a VNC server on this host. */
export function serveVnc(socket: WebSocket, address: VncAddress): void {
  const screen: Socket = address.kind === 'socket' ? connect({ path: address.path }) : connect({ host: address.host, port: address.port });
  screen.setNoDelay(true);
  screen.setTimeout(connectMs, () => screen.destroy(new Error('it does not answer')));
  screen.once('connect', () => screen.setTimeout(0));
  let why = 'The screen was closed: the guest was stopped';
  screen.once('error', ({ message }) => {
    why = `The screen cannot be opened: ${message}`;
  });
  screen.once('close', () => closeWith(socket, why));
  socket.once('close', () => screen.destroy());
  bridge(socket, { input: screen, output: screen });
}
