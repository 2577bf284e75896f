import { MultiBar, type SingleBar } from 'cli-progress';
import { escapeUnsafe } from '../core/guest/text.js';
import type { ProgressEvent, ProgressListener } from '../core/progress.js';
import { bytes, seconds } from './format.js';

export interface Progress {
  listener: ProgressListener;
  /** Leaves the terminal as it was. */
  stop(): void;
}

const words: Record<string, string> = {
  stop: 'stopping',
  overlay: 'overlays',
  define: 'defining',
  start: 'starting',
  undefine: 'undefining',
  unlink: 'removing',
  shutdown: 'shutting down',
  wait: 'waiting',
  seed: 'seeds',
  rebase: 'rebasing',
  exec: 'running',
  copy: 'copying',
  compact: 'compacting',
  verify: 'looking',
  relocate: 'relocating',
  checkpoint: 'freezing',
  forget: 'dropping',
  startPaused: 'starting',
  rewind: 'rewinding',
  fixUp: 'putting right',
};

/** Live bars on a terminal, plain lines elsewhere; always on stderr. Where nothing can be written any more, the rest is dropped. */
export function showProgress(stream: NodeJS.WriteStream): Progress {
  const shown = stream.isTTY && process.env.TERM !== 'dumb' ? bars(stream) : lines(stream);
  let isLost = false;
  const lose = (): void => {
    if (!isLost) shown.stop();
    isLost = true;
  };
  stream.on('error', lose);
  return {
    listener: (event) => {
      if (!isLost) shown.listener(event);
    },
    stop: () => {
      if (!isLost) shown.stop();
      stream.off('error', lose);
    },
  };
}

export const noProgress: Progress = { listener: () => undefined, stop: () => undefined };

function bars(stream: NodeJS.WriteStream): Progress {
  const multi = new MultiBar(
    // Signals are ours: they would make it stop before the work does.
    {
      stream,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
      format: '{label} {bar} {text}',
      barsize: 30,
      fps: 10,
      emptyOnZero: true,
    },
    { format: '{label} {bar} {text}', barCompleteChar: '█', barIncompleteChar: '░' },
  );
  const shown = new Map<string, SingleBar>();
  const update = (key: string, done: number, total: number, text: string): void => {
    let bar = shown.get(key);
    if (bar === undefined) {
      bar = multi.create(total, 0, { label: (words[key] ?? key).padEnd(14), text: '' });
      shown.set(key, bar);
    }
    bar.update(done, { text });
  };
  return {
    listener: (event) => {
      if (event.kind === 'stage') update(event.stage, event.done, event.total, `${event.done}/${event.total}`);
      else if (event.kind === 'bytes')
        update(event.what, event.doneBytes, event.totalBytes, `${bytes(event.doneBytes)} of ${bytes(event.totalBytes)}`);
      // What is logged appears with the next bar.
      else if (multi.isActive) multi.log(`${escapeUnsafe(event.text)}\n`);
      else stream.write(`${escapeUnsafe(event.text)}\n`);
    },
    stop: () => {
      if (!multi.isActive) return;
      multi.update();
      multi.stop();
    },
  };
}

/** How often a stage may speak where every line is kept. */
const quietMs = 2_000;

function lines(stream: NodeJS.WriteStream): Progress {
  const began = performance.now();
  let spokeAt = began;
  const write = (text: string): void => void stream.write(`[${seconds((performance.now() - began) / 1000)}] ${text}\n`);
  return {
    listener: (event: ProgressEvent) => {
      if (event.kind === 'note') return write(escapeUnsafe(event.text));
      const [done, total] = event.kind === 'stage' ? [event.done, event.total] : [event.doneBytes, event.totalBytes];
      const isSmall = event.kind === 'bytes' && event.totalBytes < 64 * 1024 * 1024;
      const isDue = performance.now() - spokeAt > quietMs;
      if (isSmall || (done < total && !isDue)) return;
      spokeAt = performance.now();
      if (event.kind === 'stage') write(`${words[event.stage] ?? event.stage}: ${done} of ${total}`);
      else write(`${event.what}: ${bytes(done)} of ${bytes(total)}`);
    },
    stop: () => undefined,
  };
}
