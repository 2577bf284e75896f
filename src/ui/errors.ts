import type { ErrorReport } from '../core/errors.js';

export function renderError({ message, details, hint }: ErrorReport): string {
  return [`Error: ${message}`, ...(details ?? []).map((detail) => `  ${detail}`), ...(hint === undefined ? [] : [`→ ${hint}`])].join('\n');
}
