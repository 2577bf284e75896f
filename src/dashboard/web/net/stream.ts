import type { HerdChange, HerdView } from '../../protocol.js';
import { parseSafely } from './safe-json.js';

/** connecting: for the first time. lost: it was connected, or the first attempt failed. signedOut: the session is not valid. */
export type Link = 'connecting' | 'open' | 'lost' | 'signedOut';

interface Listener {
  state: (view: HerdView) => void;
  change: (change: HerdChange) => void;
  link: (link: Link) => void;
}

const path = 'api/stream';
const retryMs = 2000;
/** After this time in the background, a page asks for everything again instead of waiting for a connection that may be dead. */
const asleepMs = 30_000;

/** Follows the stream of the server for as long as the page exists, and connects again by itself. */
export function follow(listener: Listener): void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const connect = (): void => {
    clearTimeout(timer);
    source?.close();
    source = opened(listener, () => {
      // The browser retries by itself after an interrupted connection, but not after an answer with an error status.
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      void refusal().then((link) => {
        listener.link(link);
        timer = setTimeout(connect, retryMs);
      });
    });
  };

  connect();
  let hiddenAt = 0;
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) hiddenAt = Date.now();
    else if (Date.now() - hiddenAt > asleepMs || source === null) connect();
  });
  document.addEventListener('resume', connect);
  window.addEventListener('pageshow', ({ persisted }) => {
    if (persisted) connect();
  });
  window.addEventListener('online', connect);
}

function opened({ state, change, link }: Listener, failed: () => void): EventSource {
  const source = new EventSource(path);
  source.addEventListener('state', ({ data }) => {
    state(parseSafely(String(data)) as HerdView);
    link('open');
  });
  source.addEventListener('change', ({ data }) => change(parseSafely(String(data)) as HerdChange));
  // A server that continues a stream sends no state.
  source.addEventListener('open', () => link('open'));
  source.addEventListener('error', () => {
    link('lost');
    failed();
  });
  return source;
}

/** Why the stream was refused. */
async function refusal(): Promise<Link> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), 5000);
  try {
    const { status } = await fetch(path, { cache: 'no-store', signal: stop.signal });
    return status === 401 || status === 403 ? 'signedOut' : 'lost';
  } catch {
    return 'lost';
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}
