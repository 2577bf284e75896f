import type { Finding, FindingKind } from '../../core/finding.js';
import type { Ports, StoreEntry } from '../../ports/index.js';

/** A finding, with the way to mend it where that loses nothing. */
export interface FixableFinding extends Finding {
  mend?: (() => Promise<void>) | undefined;
}

export function fixable(
  kind: FindingKind,
  what: string,
  message: string,
  { hint, bytes = 0, mend }: { hint: string; bytes?: number; mend?: () => Promise<void> },
): FixableFinding {
  return { kind, what, message, hint, bytes, fleet: null, fixable: mend !== undefined, fixed: false, mend };
}

/** Files with what a guest knows, or secrets, that others than their owner and QEMU may read. */
export function exposures({ survey }: Pick<Ports, 'survey'>, entries: readonly StoreEntry[], fixCommand: string): FixableFinding[] {
  return entries
    .filter(({ role, readers }) => readers === 'exposed' && role !== 'leftover')
    .map((entry) => {
      const mode = entry.mode.toString(8).padStart(4, '0');
      return fixable('exposed', entry.path, `users of this host other than its owner and QEMU may read it (mode ${mode})`, {
        hint: `Take that right away: ${fixCommand}`,
        mend: () => survey.protect(entry),
      });
    });
}
