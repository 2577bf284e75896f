/** The code of a connection that ends because another user has the console. */
export const inUseCode = 4001;

/** The address of a WebSocket, relative to the page. */
export function socketUrl(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  return url.href;
}

/** Browsers do not tell why a connection was refused. */
export function failedReason({ reason }: { reason: string }): string {
  return reason !== '' ? reason : 'The connection could not be opened: the dashboard is not running, or too many consoles are open';
}

/** Why a connection ended, in words. */
export function closeReason({ code, reason }: { code: number; reason: string }): string {
  if (reason !== '') return reason;
  return code === 1000 || code === 1005 ? 'The connection was closed' : 'The connection was lost';
}
