import { type Hook, ux } from '@oclif/core';
import { reportOf } from '../../core/errors.js';
import { escapeUnsafe } from '../../core/guest/text.js';
import { jsonText } from '../../core/quoting.js';
import { renderError } from '../render/errors.js';
import { unknownCommand } from '../unknown-command.js';

/** Called by oclif if no command matches, before the error handling of any command applies. */
const hook: Hook.CommandNotFound = async ({ id, argv = [], config }) => {
  const error = unknownCommand(id, config);
  const words = [id, ...argv];
  const end = words.indexOf('--');
  const isJson = words.slice(0, end < 0 ? undefined : end).includes('--json');
  if (isJson) ux.stdout(jsonText({ error: reportOf(error) }));
  else ux.stderr(escapeUnsafe(renderError(reportOf(error))));
  process.exitCode = error.exitCode;
};

export default hook;
