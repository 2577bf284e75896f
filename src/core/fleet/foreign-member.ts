import { virshWord } from '../domain/domain-ref.js';
import type { CowherdError } from '../errors.js';
import type { MarkedMember, Plan } from './plan/member-plan.js';

/**
 * Whether a domain with a member's name is foreign. Both the UUID derived for the member and the
 * mark in the domain's metadata must match: the UUID is not enough after "virsh edit", and the mark may be copied with a domain.
 */
export function isForeign({ domain, mark, name, uuid, index }: MarkedMember, fleetId: string): boolean {
  return domain !== undefined && (domain.name !== name || domain.uuid !== uuid || mark?.fleetId !== fleetId || mark.index !== index);
}

/** For a member that libvirt did not report on. */
export function unreadReason(name: string, { message, hint }: CowherdError): Plan['refused'][number] {
  return { name, reason: message, hint: hint ?? 'Run the same command again.' };
}

/** Renaming the domain would remove it from its own fleet. */
export function otherStoreHint(name: string): string {
  return `cowherd does not touch it. Choose another name for this fleet, or select that store with --store DIR: "virsh domblklist ${name}" shows where its disks are.`;
}

/** Why a member with a foreign domain is not touched, see {@link isForeign}. */
export function foreignReason({ name, uuid, domain, unread, mark }: MarkedMember): Plan['refused'][number] {
  if (unread !== undefined) return unreadReason(name, unread);
  if (domain !== undefined && domain.name !== name) {
    return {
      name,
      reason: `its domain was renamed to ${domain.name}`,
      hint: `Rename it back: virsh domrename ${virshWord(domain)} ${name}`,
    };
  }
  if (domain?.uuid !== uuid && mark !== undefined) {
    return {
      name,
      reason: `the domain named ${name} is member ${mark.index} of fleet ${mark.fleet} in another store`,
      hint: otherStoreHint(name),
    };
  }
  return domain?.uuid === uuid
    ? {
        name,
        reason: `the domain named ${name} has lost the metadata of its fleet`,
        hint: `cowherd does not touch it. If you do not need it: virsh undefine ${name}`,
      }
    : {
        name,
        reason: `the domain named ${name} does not belong to this fleet`,
        hint: `cowherd does not touch it. Rename it to free the member's name: virsh domrename ${name} NEW`,
      };
}
