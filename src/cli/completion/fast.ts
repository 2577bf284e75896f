import { readFileSync } from 'node:fs';
import { type CommandShape, complete } from './engine.js';
import { completionScripts } from './scripts.js';
import * as world from './world.js';

/**
 * Answers a shell before anything else is loaded: completion must not wait for oclif.
 * @returns the output; undefined for all other command lines
 */
export function answerShell(words: readonly string[]): string | undefined {
  const [verb, shell = ''] = words;
  if (verb === 'completion' && words.length === 2 && Object.hasOwn(completionScripts, shell))
    return completionScripts[shell as keyof typeof completionScripts];
  if (verb !== '__complete') return undefined;
  try {
    const manifest = JSON.parse(readFileSync(new URL('../../../oclif.manifest.json', import.meta.url), 'utf8'));
    const found = complete(words.slice(words[1] === '--' ? 2 : 1), Object.values<CommandShape>(manifest.commands), world);
    return found.map(({ text, about }) => `${text}${about === undefined ? '' : `\t${about.replace(/\s+/g, ' ')}`}\n`).join('');
  } catch {
    // A shell ignores errors of completion.
    return '';
  }
}
