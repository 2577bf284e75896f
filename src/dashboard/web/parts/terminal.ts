import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { closeReason, failedReason, inUseCode } from '../net/socket.js';
import { allowStyles } from './allowed-styles.js';

/** A serial console in a terminal. What a guest writes is shown, and can do nothing else. */

export interface Console {
  focus: () => void;
  close: () => void;
}

export interface ConsoleEnd {
  reason: string;
  /** Whether another user has it. */
  isInUse: boolean;
}

/** What waits for the terminal. A guest that writes faster than that loses some of its output here. */
const maxWaiting = 2 * 1024 * 1024;

const colors = { background: '#0f141a', foreground: '#e3e9f0', cursor: '#e3e9f0', selectionBackground: '#3d5a80' };

export function openConsole(place: HTMLElement, url: string, isReadOnly: boolean, ended: (end: ConsoleEnd) => void): Console {
  const terminal = new Terminal({
    allowProposedApi: false,
    disableStdin: isReadOnly,
    // Links of a guest do nothing.
    linkHandler: { activate: () => undefined },
    screenReaderMode: true,
    scrollback: 5000,
    cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", monospace',
    fontSize: 14,
    theme: colors,
  });
  // Links and the clipboard.
  for (const sequence of [8, 52]) terminal.parser.registerOscHandler(sequence, () => true);
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  const endStyles = allowStyles();
  terminal.open(place);
  fit.fit();
  const watcher = new ResizeObserver(() => fit.fit());
  watcher.observe(place);

  const socket = connect(terminal, url, ended);
  return {
    focus: () => terminal.focus(),
    close: () => {
      watcher.disconnect();
      socket.close();
      terminal.dispose();
      endStyles();
    },
  };
}

function connect(terminal: Terminal, url: string, ended: (end: ConsoleEnd) => void): WebSocket {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  const show = writer(terminal);
  let isConnected = false;
  socket.addEventListener('open', () => {
    isConnected = true;
  });
  socket.addEventListener('message', ({ data }) => {
    show(new Uint8Array(data as ArrayBuffer));
  });
  socket.addEventListener('close', (event) =>
    ended({
      reason: isConnected ? closeReason(event) : failedReason(event),
      isInUse: event.code === inUseCode,
    }),
  );
  const send = (bytes: Uint8Array<ArrayBuffer>): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(bytes);
  };
  const encoder = new TextEncoder();
  terminal.onData((text) => send(encoder.encode(text)));
  terminal.onBinary((text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  return socket;
}

/** Writes to a terminal, and skips what it cannot show in time. */
function writer(terminal: Terminal): (bytes: Uint8Array) => void {
  let waiting = 0;
  let skipped = 0;
  const write = (bytes: Uint8Array | string): void => {
    waiting += bytes.length;
    terminal.write(bytes, () => {
      waiting -= bytes.length;
      if (skipped === 0 || waiting > maxWaiting / 2) return;
      const note = `\r\n[${skipped} bytes of output were skipped]\r\n`;
      skipped = 0;
      write(note);
    });
  };
  return (bytes) => {
    if (waiting > maxWaiting) skipped += bytes.length;
    else write(bytes);
  };
}
