import type { Config } from '@oclif/core';
import { CowherdError } from '../core/errors.js';
import { closestTo } from '../core/suggestion.js';

/**
 * The error for a command that does not exist.
 * @param id as oclif passes it: the words before the first flag, joined by colons (`spwan:lab`)
 */
export function unknownCommand(id: string, { bin, commandIDs, topics }: Pick<Config, 'bin' | 'commandIDs' | 'topics'>): CowherdError {
  if (id.startsWith('-')) {
    return new CowherdError('BAD_USAGE', `${JSON.stringify(id)} is before the command; flags must follow it`, {
      hint: `Write it as "${bin} COMMAND ${id}". "${bin} --help" lists the commands.`,
    });
  }
  const [first = '', second] = id.split(':');
  const isTopic = second !== undefined && topics.some(({ name }) => name === first);
  const word = isTopic ? `${first} ${second}` : first;
  const known = commandIDs.map((command) => command.replaceAll(':', ' '));
  const candidates = isTopic
    ? known.filter((command) => command.startsWith(`${first} `))
    : [...known.filter((command) => !command.includes(' ')), ...topics.map(({ name }) => name)];
  const meant = closestTo(word, candidates);
  const suggestion = meant === undefined ? '' : ` Did you mean "${meant}"?`;
  return new CowherdError('BAD_USAGE', `Unknown command "${word}".${suggestion}`, {
    hint: `"${bin}${isTopic ? ` ${first}` : ''} --help" lists the commands.`,
  });
}
