import type { ErrorReport } from '../core/errors.js';
import { page } from './layout.js';

export function renderError({ message, details, hint }: ErrorReport): string {
  const lines = [`Error: ${message}`, ...(details ?? []).map((detail) => `  ${detail}`), ...(hint === undefined ? [] : [`→ ${hint}`])];
  return page(lines.join('\n'), process.stderr);
}
