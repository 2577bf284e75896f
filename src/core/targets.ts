import { CowherdError } from './errors.js';

/** Which fleets a verb is about, and which of their members. */
export interface Targets {
  fleets: string[];
  /** Only with a single fleet; empty means all. */
  members: string[];
}

/**
 * Sorts the words behind a verb: `lab 1-10,17`, `lab lab-003`, `lab web db`. Numbers and names that begin with the first
 * fleet's name and a hyphen are members; other words are fleets.
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
  const isMember = (word: string): boolean => /^\d[\d,-]*$/.test(word) || word.startsWith(`${first}-`);
  const members = rest.filter(isMember);
  const fleets = [first, ...rest.filter((word) => !isMember(word))];
  if (members.length > 0 && fleets.length > 1) {
    throw new CowherdError('BAD_USAGE', `Members can be chosen of one fleet at a time, not of ${fleets.join(' and ')}`, {
      hint: `Run it for each fleet by itself: ${first} ${members.join(',')}`,
    });
  }
  return { fleets: [...new Set(fleets)], members };
}
