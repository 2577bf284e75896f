import { type CowherdError, reportOf } from '../core/errors.js';
import { escapeUnsafe } from '../core/guest/text.js';
import { jsonText } from '../core/quoting.js';
import { renderError } from './render/errors.js';

/**
 * Reports an error that occurs before the error handling of any command applies, and sets the exit code. Without oclif, which main.ts loads
 * only after the streams are guarded.
 * @param words the command line
 */
export function reportEarly(error: CowherdError, words: readonly string[]): void {
  const end = words.indexOf('--');
  const isJson = words.slice(0, end < 0 ? undefined : end).includes('--json');
  if (isJson) process.stdout.write(`${jsonText({ error: reportOf(error) })}\n`);
  else process.stderr.write(`${escapeUnsafe(renderError(reportOf(error)))}\n`);
  process.exitCode = error.exitCode;
}
