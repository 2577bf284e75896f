import RFB from '@novnc/novnc';
import { closeReason, failedReason } from '../net/socket.js';

/** The graphical screen of a guest. Its clipboard and its name for the desktop are ignored. */
export function openScreen(place: HTMLElement, url: string, ended: (reason: string) => void): { focus: () => void; close: () => void } {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  let reason: string | null = null;
  let isConnected = false;
  let isGone = false;
  socket.addEventListener('open', () => {
    isConnected = true;
  });
  const rfb = new RFB(place, socket, { shared: true });
  rfb.scaleViewport = true;
  rfb.background = 'transparent';
  const canvas = place.querySelector('canvas');
  if (canvas !== null) {
    canvas.tabIndex = 0;
    canvas.setAttribute('role', 'application');
    canvas.setAttribute('aria-label', 'Screen of the guest. To leave it, press F6.');
  }
  socket.addEventListener('close', (event) => {
    reason ??= isConnected ? closeReason(event) : failedReason(event);
    isGone = true;
    ended(reason);
  });
  rfb.addEventListener('securityfailure', () => {
    reason = 'The VNC server refused the connection';
  });
  rfb.addEventListener('credentialsrequired', () => {
    reason = 'The VNC server asks for a password. Use a VNC client.';
    rfb.disconnect();
  });
  return {
    focus: () => rfb.focus(),
    close: () => {
      if (isGone) return;
      isGone = true;
      rfb.disconnect();
    },
  };
}
