import type { Ports, StoreEntry } from '../../ports/index.js';
import { type FixableFinding, fixable } from './fixable-finding.js';
import { domainsNaming, type LibvirtInventory } from './libvirt-inventory.js';

export async function withoutRecord(
  ports: Ports,
  inventory: LibvirtInventory,
  fleet: string,
  entries: readonly StoreEntry[],
): Promise<FixableFinding[]> {
  const own = domainsNaming(inventory, `${ports.fleets.root}/fleets/${fleet}`).filter(
    ({ uuid }) => inventory.marks.get(uuid)?.fleet === fleet,
  );
  const held = entries.filter(({ role }) => role !== 'leftover' && role !== 'unknown');
  if (own.length > 0) {
    const hint = `Rebuild it from the domains: cowherd status ${fleet} --recover`;
    return [fixable('missing', fleet, `fleet.json is missing, but ${own.length} domains are members of this fleet`, { hint })];
  }
  if (held.length > 0) {
    const bytes = held.reduce((sum, entry) => sum + entry.bytes, 0);
    const hint = 'They are unused. Check whether you need them, then remove the directory.';
    return [
      fixable('orphan', `${ports.fleets.root}/fleets/${fleet}`, `${held.length} files of a fleet without fleet.json or domains`, {
        hint,
        bytes,
      }),
    ];
  }
  const isNothing = !(await ports.survey.owners('fleets')).includes(fleet);
  if (isNothing || entries.some(({ role }) => role === 'unknown')) return [];
  const hint = `Remove it: cowherd verify ${fleet} --fix`;
  return [
    fixable('leftover', `${ports.fleets.root}/fleets/${fleet}`, 'a directory without a fleet', {
      hint,
      fix: async () => void (await ports.survey.removeEmpty('fleets', fleet)),
    }),
  ];
}
