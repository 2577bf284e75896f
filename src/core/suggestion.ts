import { closest, distance } from 'fastest-levenshtein';

/**
 * The candidate that a mistyped word most likely stands for; undefined where none is close. Two letters that changed places count as
 * two edits, so even short words are allowed two; longer words are allowed one edit for every third letter.
 */
export function closestTo(word: string, candidates: readonly string[]): string | undefined {
  if (word === '' || word.length > longestWord || candidates.length === 0) return undefined;
  const found = closest(word, candidates);
  const edits = word.length < 4 ? 1 : Math.max(2, Math.floor(word.length / 3));
  return distance(word, found) <= edits ? found : undefined;
}

/** Comparing takes time with the square of the length. */
const longestWord = 100;
