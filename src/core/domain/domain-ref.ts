import type { DomainState } from '../fleet/observation.js';
import { shellWord } from '../quoting.js';

/**
 * virsh looks up a word first as the id of a running domain, then as a UUID, then as a name: "virsh destroy 101" stops the domain
 * with the id 101, even if another domain has the name 101. A word with a leading hyphen may be read as an option.
 * Source: libvirt, tools/virsh-util.c, virshLookupDomainInternal; tools/vsh.c, vshCommandParse
 */
const misread = /^[\s+-]|^\d+$/;
const likeUuid = /^[0-9a-f-]{32,36}$/i;

/** Whether virsh would not look up that word as a name or UUID. Never true for names of members, such as "lab-001". */
export function isMisread(ref: string): boolean {
  return misread.test(ref) || ref === '';
}

/** How to name a domain to virsh: its name, or its UUID if virsh would misread the name. */
export function domainRef({ name, uuid }: Pick<DomainState, 'name' | 'uuid'>): string {
  return isMisread(name) || likeUuid.test(name) ? uuid : name;
}

/** The same, quoted for a shell, for commands in hints. */
export function virshWord(domain: Pick<DomainState, 'name' | 'uuid'>): string {
  return shellWord(domainRef(domain));
}
