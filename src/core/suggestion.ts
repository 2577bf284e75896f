import { closest, distance } from 'fastest-levenshtein';

/**
 * The candidate closest to a mistyped word; undefined if none is close. Two swapped letters count as
 * two edits, so even short words are allowed two; longer words are allowed one edit for every third letter.
 */
export function closestTo(word: string, candidates: readonly string[]): string | undefined {
  if (word === '' || word.length > longestWord || candidates.length === 0) return undefined;
  const found = closest(word, candidates);
  const edits = word.length < 4 ? 1 : Math.max(2, Math.floor(word.length / 3));
  return distance(word, found) <= edits ? found : undefined;
}

/** Comparing takes quadratic time. */
const longestWord = 100;
