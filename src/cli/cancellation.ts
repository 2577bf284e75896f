import { setMaxListeners } from 'node:events';

export interface Cancellation {
  signal: AbortSignal;
  /** Stops handling SIGINT and SIGTERM. */
  release(): void;
}

const hangUpListeners = new Set<() => void>();
let isHangUpHeeded = false;

/**
 * Turns the first SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal was closed) into an abort.
 * @param handlers onFirst is called for the first signal, onSecond for each later one
 */
export function cancelOnSignals(handlers: { onFirst: () => void; onSecond: () => void }): Cancellation {
  const controller = new AbortController();
  // Each member of a fleet adds a listener.
  setMaxListeners(0, controller.signal);
  const cancel = (): void => {
    if (controller.signal.aborted) return;
    controller.abort();
    handlers.onFirst();
  };
  const onSignal = (): void => (controller.signal.aborted ? handlers.onSecond() : cancel());
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // The kernel and the shell both send SIGHUP for a closed terminal: the second one is not a second request.
  hangUpListeners.add(cancel);
  heedHangUps();
  return {
    signal: controller.signal,
    release: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
      hangUpListeners.delete(cancel);
    },
  };
}

/** Stays until the process exits: the last SIGHUP may arrive after the work, and must not end the process while it prints its result. */
function heedHangUps(): void {
  if (isHangUpHeeded) return;
  isHangUpHeeded = true;
  process.on('SIGHUP', () => {
    for (const listener of hangUpListeners) listener();
  });
}
