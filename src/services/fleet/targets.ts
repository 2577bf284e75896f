import { selectMembers } from '../../core/fleet/selection/selection.js';
import { parseTargets, type Target } from '../../core/fleet/selection/targets.js';
import type { Ports } from '../../ports/index.js';
import { type FleetReads, loadFleet } from './access.js';

/** Resolves the targets of a verb: words, or the fleets of a fleet file. If there are several, all are looked up before the first one is changed, so that a mistyped name changes nothing.
 * @throws BAD_USAGE, FLEET_NOT_FOUND, MEMBER_NOT_FOUND
 */
export async function findTargets(ports: FleetReads & Pick<Ports, 'readFile'>, words: readonly string[], file?: string): Promise<Target[]> {
  const inFile = file === undefined ? undefined : await fleetsInFile(ports, file);
  const targets = parseTargets(words, words.length === 0 ? [] : await ports.fleets.list(), inFile);
  if (targets.length > 1) {
    for (const { fleet, members } of targets) {
      const record = await loadFleet(ports, fleet);
      selectMembers(record.name, record.members, members);
    }
  }
  return targets;
}

/** Only with a file, the YAML parser is loaded. */
async function fleetsInFile(ports: Pick<Ports, 'readFile'>, file: string): Promise<string[]> {
  const { readFleetFile } = await import('./file.js');
  return (await readFleetFile(ports, file)).map(({ name }) => name);
}
