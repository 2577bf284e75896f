import { selectMembers } from '../../core/fleet/selection.js';
import { parseTargets, type Target } from '../../core/fleet/targets.js';
import type { Ports } from '../../ports/index.js';
import { loadFleet } from './access.js';
import { readFleetFile } from './file.js';

/**
 * The fleets and members that the words behind a verb name, or a fleet file. With several, all of them are looked up before a verb
 * changes the first one: a mistyped word is no reason to do half of it.
 * @throws BAD_USAGE, FLEET_NOT_FOUND, MEMBER_NOT_FOUND
 */
export async function findTargets(
  ports: Pick<Ports, 'fleets' | 'memory' | 'readFile'>,
  words: readonly string[],
  file?: string,
): Promise<Target[]> {
  const inFile = file === undefined ? undefined : (await readFleetFile(ports, file)).map(({ name }) => name);
  const targets = parseTargets(words, words.length === 0 ? [] : await ports.fleets.list(), inFile);
  if (targets.length > 1) {
    for (const { fleet, members } of targets) {
      const record = await loadFleet(ports, fleet);
      selectMembers(record.name, record.members, members);
    }
  }
  return targets;
}

/** All fleets of the store, also those that are damaged. */
export async function allFleets({ fleets }: Pick<Ports, 'fleets'>): Promise<Target[]> {
  return (await fleets.list()).map((fleet) => ({ fleet, members: [] }));
}
