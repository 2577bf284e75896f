import { observable } from './observable.js';

/** What a screen reader reads out: at most one message every two seconds; of those in between, the last one. */

export const announcement = observable('');

const gapMs = 2000;
let next: string | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;

export function announce(message: string): void {
  next = message;
  if (timer === undefined) speak();
}

function speak(): void {
  timer = undefined;
  if (next === null) return;
  // The same message again is a new one.
  announcement.set(announcement.get() === next ? `${next}\u00a0` : next);
  next = null;
  timer = setTimeout(speak, gapMs);
}
