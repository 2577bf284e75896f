import { setMaxListeners } from 'node:events';

export interface Cancellation {
  signal: AbortSignal;
  /** Ctrl-C and SIGTERM are the process's own matter again. */
  release(): void;
}

const hangUpListeners = new Set<() => void>();
let isHangUpHeeded = false;

/**
 * Turns the first SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal is gone) into an abort.
 * @param handlers onFirst is called at that one, onSecond at each further one: whoever asks twice means it
 */
export function cancelOnSignals(handlers: { onFirst: () => void; onSecond: () => void }): Cancellation {
  const controller = new AbortController();
  // A fleet of members waits on it at once.
  setMaxListeners(0, controller.signal);
  const cancel = (): void => {
    if (controller.signal.aborted) return;
    controller.abort();
    handlers.onFirst();
  };
  const onSignal = (): void => (controller.signal.aborted ? handlers.onSecond() : cancel());
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // Both the kernel and the shell tell of a terminal that is gone: that is not asking twice.
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

/** For the rest of the process's life: the last SIGHUP may come after the work, and must not end it while it tells its result. */
function heedHangUps(): void {
  if (isHangUpHeeded) return;
  isHangUpHeeded = true;
  process.on('SIGHUP', () => {
    for (const listener of hangUpListeners) listener();
  });
}
