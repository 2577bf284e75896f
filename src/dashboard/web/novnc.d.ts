/** The part of noVNC that the page uses. */
declare module '@novnc/novnc' {
  class RFB extends EventTarget {
    constructor(place: HTMLElement, socket: WebSocket | string, options?: { shared?: boolean });
    scaleViewport: boolean;
    background: string;
    focusOnClick: boolean;
    focus(): void;
    disconnect(): void;
  }

  // biome-ignore lint/style/noDefaultExport: noVNC has one
  export { RFB as default };
}
