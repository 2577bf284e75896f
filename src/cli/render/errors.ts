import { stripVTControlCharacters } from 'node:util';
import type { ErrorReport } from '../../core/errors.js';
import { page } from '../terminal/layout.js';

export function renderError({ code, message, details, hint }: ErrorReport): string {
  // The user's answer, not a failure.
  if (code === 'CANCELED') return message;
  const lines = [`Error: ${message}`, ...(details ?? []).map((detail) => `  ${detail}`), ...(hint === undefined ? [] : [`→ ${hint}`])];
  return page(lines.join('\n'), process.stderr);
}

/** oclif's message about an invalid command line as one line, without its colors. The hint mentions --help. */
export function usageText(message: string): string {
  const told = stripVTControlCharacters(message)
    .replace(/^See more help with --help$/m, '')
    .replace(/^The following errors? occurred:\s*/, '');
  return told.split('\n').slice(0, 2).join(' ').replace(/\s+/g, ' ').trim();
}
