import { CowherdError } from './errors.js';
import { verifyName } from './names.js';

/** Which fleets a verb is about, and which of their members. */
export interface Targets {
  fleets: string[];
  /** Only with a single fleet; empty means all. */
  members: string[];
}

/**
 * Sorts the words behind a verb: `lab 1-10,17`, `lab lab-003`, `lab web db`. Numbers and member names of the first
 * fleet are members; other words are fleets. A word that is neither must not be taken for "all members": it is refused.
 * @param fileFleets fleets of a fleet file that was named instead
 * @throws BAD_USAGE
 */
export function parseTargets(words: readonly string[], fileFleets?: readonly string[]): Targets {
  if (fileFleets !== undefined) {
    if (words.length > 0) {
      throw new CowherdError('BAD_USAGE', 'Name fleets, or a file that names them, not both', {
        hint: 'Leave out --file to choose members.',
      });
    }
    return { fleets: [...fileFleets], members: [] };
  }
  const [first, ...rest] = words;
  if (first === undefined)
    throw new CowherdError('BAD_USAGE', 'Which fleet?', { hint: 'Name one, or a fleet file with --file. "cowherd list" shows all.' });
  const isMember = (word: string): boolean => word.split(',').some((part) => /^[\d-]+$/.test(part) || memberOf(first, part));
  for (const word of words) if (!isMember(word)) verifyName('fleet', word);
  const members = rest.filter(isMember);
  const fleets = [first, ...rest.filter((word) => !isMember(word))];
  if (members.length > 0 && fleets.length > 1) {
    throw new CowherdError('BAD_USAGE', `Members can be chosen of one fleet at a time, not of ${fleets.join(' and ')}`, {
      hint: `Run it for each fleet by itself: ${first} ${members.join(',')}`,
    });
  }
  return { fleets: [...new Set(fleets)], members };
}

function memberOf(fleet: string, word: string): boolean {
  return word.startsWith(`${fleet}-`) && /^\d+$/.test(word.slice(fleet.length + 1));
}
