import { CowherdError } from '../../errors.js';
import { assertName } from '../../names.js';

/** A fleet and selected members of it. */
export interface Target {
  fleet: string;
  /** Names, numbers and ranges; empty means all. */
  members: string[];
}

/** For commands that apply to whole fleets. @throws BAD_USAGE */
export function assertWhole(verb: string, targets: readonly Target[]): void {
  const chosen = targets.find(({ members }) => members.length > 0);
  if (chosen === undefined) return;
  throw new CowherdError('BAD_USAGE', `${verb} applies to whole fleets, not to single members`, {
    hint: `Try: cowherd ${verb} ${chosen.fleet}`,
  });
}

/**
 * Parses the targets of a command: `lab 1-10,17`, `lab-003`, `lab lab-003`, `lab web db`. A word that is the name of a fleet means that
 * fleet; otherwise `lab-003` is a member of `lab`, if that fleet exists. Numbers belong to the only named fleet. Any other word is the name
 * of a missing fleet, or is refused: it must never mean "all members".
 * @param known fleets of the store
 * @param fileFleets fleets of a fleet file that was given instead
 * @throws BAD_USAGE
 */
export function parseTargets(words: readonly string[], known: readonly string[], fileFleets?: readonly string[]): Target[] {
  if (fileFleets !== undefined) {
    if (words.length > 0) {
      throw new CowherdError('BAD_USAGE', 'Name fleets, or give a fleet file, but not both', {
        hint: 'Leave out --file to choose members.',
      });
    }
    return fileFleets.map((fleet) => ({ fleet, members: [] }));
  }
  const fleets = new Set(known);
  const targets = new Map<string, string[]>();
  const numbers: string[] = [];
  const add = (fleet: string, ...members: string[]): void => void targets.set(fleet, [...(targets.get(fleet) ?? []), ...members]);
  for (const part of words.flatMap(partsOf)) {
    const [, prefix = ''] = /^(.+)-\d+$/.exec(part) ?? [];
    if (targets.size > 0 && /^[\d-]+$/.test(part)) numbers.push(part);
    else if (fleets.has(part)) add(part);
    else if (fleets.has(prefix) || targets.has(prefix)) add(prefix, part);
    else add(assertName('fleet', part));
  }
  const [only, ...others] = targets.keys();
  if (only === undefined)
    throw new CowherdError('BAD_USAGE', 'No fleet given', {
      hint: 'Name one, or give a fleet file with --file. "cowherd list" shows all.',
    });
  if (numbers.length > 0 && others.length > 0) {
    throw new CowherdError('BAD_USAGE', `Members ${numbers.join(',')} could be of ${only} or of ${others.join(' or ')}`, {
      hint: `With several fleets, name members in full, such as ${only}-001.`,
    });
  }
  if (numbers.length > 0) add(only, ...numbers);
  return [...targets].map(([fleet, members]) => ({ fleet, members }));
}

/** `3,lab-005` → its parts. A word of only commas is kept, so that it does not count as no word. */
function partsOf(word: string): string[] {
  const parts = word.split(',').filter((part) => part !== '');
  return parts.length === 0 ? [word] : parts;
}
