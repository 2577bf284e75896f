import type { ImportProgress } from '../../core/progress.js';

/** Between two reports, in milliseconds: chunks arrive thousands of times per second. */
const reportMs = 100;

/** @returns reports at most ten times per second, and always if it is the last one */
export function throttled(
  onProgress: ((progress: ImportProgress) => void) | undefined,
): (progress: ImportProgress, isLast?: boolean) => void {
  let reportedAt = 0;
  return (progress, isLast = false) => {
    const now = performance.now();
    if (!isLast && now - reportedAt < reportMs) return;
    reportedAt = now;
    onProgress?.(progress);
  };
}
