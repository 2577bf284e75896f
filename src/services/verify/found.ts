import type { Finding, FindingKind } from '../../core/finding.js';

/** A finding, with the way to mend it where that loses nothing. */
export interface Found extends Finding {
  mend?: (() => Promise<void>) | undefined;
}

export function found(
  kind: FindingKind,
  what: string,
  message: string,
  { hint, bytes = 0, mend }: { hint: string; bytes?: number; mend?: () => Promise<void> },
): Found {
  return { kind, what, message, hint, bytes, fleet: null, fixable: mend !== undefined, fixed: false, mend };
}
