import type { ErrorReport } from '../core/errors.js';

export function renderError({ message, details, hint }: ErrorReport): string {
  const lines = [`Error: ${message}`, ...(details ?? []).map((detail) => `  ${detail}`), ...(hint === undefined ? [] : [`→ ${hint}`])];
  return printable(lines.join('\n'));
}

/** Names and files of strangers are quoted in errors: what steers a terminal is shown, not obeyed. */
function printable(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
