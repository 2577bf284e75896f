import { CowherdError } from '../errors.js';
import { limits, maxLength } from '../limits.js';

/** Commands and scripts of the user that run in a guest. */

/** What runs in a guest, as a program with its arguments. */
export interface ScriptStep {
  /** For messages: the command, or the path of the script. */
  title: string;
  argv: readonly string[];
  /** Standard input. */
  input?: string | undefined;
}

/** Stores the script in a file, and runs it with the interpreter that follows: a program that reads standard input must not read the script. */
const runFromFile = [
  'umask 077',
  'file=$(mktemp) || exit',
  `trap 'rm -f "$file"' EXIT`,
  `trap 'exit 143' HUP INT TERM`,
  'cat >"$file" || exit',
  '"$@" "$file" </dev/null',
].join('\n');

/** A command for the guest's shell. @throws BAD_USAGE */
export function commandStep(command: string): ScriptStep {
  if (command.trim() === '')
    throw new CowherdError('BAD_USAGE', 'A command to run is empty', { hint: 'Give a command: --run "apt-get update"' });
  assertText('A command to run', command, maxLength.command);
  return { title: command, argv: ['sh', '-c', command] };
}

/** A script, with the interpreter of its first line; default: sh. @param path for messages @throws BAD_USAGE */
export function scriptStep(path: string, text: string): ScriptStep {
  assertText(path, text, maxLength.script);
  return { title: path, argv: ['sh', '-c', runFromFile, 'sh', ...interpreterOf(text)], input: text };
}

/** @throws BAD_USAGE if there are too many commands */
export function commandSteps(commands: readonly string[]): ScriptStep[] {
  if (commands.length > limits.commands.max) {
    throw new CowherdError('BAD_USAGE', `${commands.length} commands are more than ${limits.commands.max}`, {
      hint: 'Put them into a script: --script FILE',
    });
  }
  return commands.map(commandStep);
}

/** The program of a `#!` line, and its argument: Linux passes all words after the program as one. */
export function interpreterOf(text: string): string[] {
  const [, program = '', argument = ''] = /^#![ \t]*([^ \t\r\n]+)[ \t]*([^\r\n]*)/.exec(text) ?? [];
  if (program === '') return ['sh'];
  const word = argument.trimEnd();
  return word === '' ? [program] : [program, word];
}

function assertText(what: string, text: string, longest: number): void {
  if (text.includes('\0')) throw new CowherdError('BAD_USAGE', `${what} contains a NUL character`, { hint: 'Give plain text.' });
  if (Buffer.byteLength(text) <= longest) return;
  throw new CowherdError('BAD_USAGE', `${what} is longer than ${longest / 1024} KiB`, {
    hint: 'Have it download what it needs, or split it into several images that are prepared one after the other.',
  });
}
