import type { ErrorReport } from '../core/errors.js';

export function renderError({ code, message, details, hint }: ErrorReport): string {
  // An answer of the user, and no failure.
  if (code === 'CANCELED') return message;
  return [`Error: ${message}`, ...(details ?? []).map((detail) => `  ${detail}`), ...(hint === undefined ? [] : [`→ ${hint}`])].join('\n');
}
