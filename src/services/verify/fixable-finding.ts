import type { Finding, FindingKind } from '../../core/finding.js';
import type { Ports, StoreEntry } from '../../ports/index.js';

/** A finding, with its fix if that loses no data. */
export interface FixableFinding extends Finding {
  fix?: (() => Promise<void>) | undefined;
}

export function fixable(
  kind: FindingKind,
  what: string,
  message: string,
  { hint, bytes = 0, fix }: { hint: string; bytes?: number; fix?: () => Promise<void> },
): FixableFinding {
  return { kind, what, message, hint, bytes, fleet: null, fixable: fix !== undefined, fixed: false, fix };
}

/** Files with guest data or secrets that others than their owner and QEMU can read. */
export function exposures({ survey }: Pick<Ports, 'survey'>, entries: readonly StoreEntry[], fixCommand: string): FixableFinding[] {
  return entries
    .filter(({ role, readers }) => readers === 'exposed' && role !== 'leftover')
    .map((entry) => {
      const mode = entry.mode.toString(8).padStart(4, '0');
      return fixable('exposed', entry.path, `readable by other users than its owner and QEMU (mode ${mode})`, {
        hint: `Restrict its permissions: ${fixCommand}`,
        fix: () => survey.protect(entry),
      });
    });
}
