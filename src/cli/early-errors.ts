import { ux } from '@oclif/core';
import { type CowherdError, reportOf } from '../core/errors.js';
import { escapeUnsafe } from '../core/guest/text.js';
import { jsonText } from '../core/quoting.js';
import { renderError } from './render/errors.js';

/**
 * Reports an error that occurs before the error handling of any command applies, and sets the exit code.
 * @param words the command line
 */
export function reportEarly(error: CowherdError, words: readonly string[]): void {
  const end = words.indexOf('--');
  const isJson = words.slice(0, end < 0 ? undefined : end).includes('--json');
  if (isJson) ux.stdout(jsonText({ error: reportOf(error) }));
  else ux.stderr(escapeUnsafe(renderError(reportOf(error))));
  process.exitCode = error.exitCode;
}
