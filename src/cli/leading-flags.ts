/** Global flags with a value. Others, such as --json, have none. */
const valued: ReadonlySet<string> = new Set(['--connect', '-c', '--store', '--lock-timeout']);
const plain: ReadonlySet<string> = new Set(['--json']);

/**
 * Moves global flags before the command behind it: `--connect URI list` → `list --connect URI`. oclif takes the first word for the command.
 * @param isCommand whether an id such as `base:list` is a command
 */
export function withoutLeadingFlags(words: readonly string[], isCommand: (id: string) => boolean): string[] {
  let end = 0;
  while (isLeading(words[end])) end += valued.has(words[end] ?? '') ? 2 : 1;
  const [first, second, ...rest] = words.slice(end);
  if (end === 0 || first === undefined) return [...words];
  const flags = words.slice(0, end);
  const others = second === undefined ? [] : [second];
  return isCommand(`${first}:${second}`) ? [first, ...others, ...flags, ...rest] : [first, ...flags, ...others, ...rest];
}

function isLeading(word = ''): boolean {
  if (valued.has(word) || plain.has(word)) return true;
  return [...valued].some((flag) => (flag.startsWith('--') ? word.startsWith(`${flag}=`) : word.startsWith(flag)));
}
