import type { Hook } from '@oclif/core';
import { reportEarly } from '../early-errors.js';
import { unknownCommand } from '../unknown-command.js';

/** Called by oclif if no command matches. */
const hook: Hook.CommandNotFound = async ({ id, argv = [], config }) => reportEarly(unknownCommand(id, config), [id, ...argv]);

export default hook;
