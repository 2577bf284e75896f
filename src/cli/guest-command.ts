/** A flag as oclif's manifest describes it. */
export interface KnownFlag {
  name: string;
  char?: string | undefined;
  type: 'boolean' | 'option';
}

/**
 * Puts `--` before the command for the guest in `ssh lab-003 uname -a`, as ssh(1) does: all later words belong to the guest, including
 * `-h` and `--help`. The member is the first word that is not a flag, with the number after it in `ssh lab 3 uname -a`.
 * @param words the words after `ssh`
 */
export function separateGuestCommand(words: readonly string[], flags: readonly KnownFlag[]): string[] {
  if (words.includes('--')) return [...words];
  let own = 0;
  let named = false;
  while (own < words.length) {
    const word = words[own] ?? '';
    if (word.startsWith('-') && word !== '-') own += takesNext(word, flags) ? 2 : 1;
    else if (!named) {
      named = true;
      own += /^\d+$/.test(words[own + 1] ?? '') ? 2 : 1;
    } else break;
  }
  return own >= words.length ? [...words] : [...words.slice(0, own), '--', ...words.slice(own)];
}

/** Whether the value of a flag is the next word: not in `--store=DIR` or `-cURI`. */
function takesNext(word: string, flags: readonly KnownFlag[]): boolean {
  const flag = flags.find(({ name, char }) => word === `--${name}` || (char !== undefined && word === `-${char}`));
  return flag?.type === 'option';
}
