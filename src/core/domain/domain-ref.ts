import type { DomainState } from '../fleet/observation.js';
import { shellWord } from '../quoting.js';

/**
 * virsh takes a word for the id of a running domain first, then for a UUID, then for a name: "virsh destroy 101" ends whichever domain
 * has the id 101, although another one is called so. A word that begins with a hyphen may be an option to it.
 * Source: libvirt, tools/virsh-util.c, virshLookupDomainInternal; tools/vsh.c, vshCommandParse
 */
const misread = /^[\s+-]|^\d+$/;
const likeUuid = /^[0-9a-f-]{32,36}$/i;

/** Whether virsh would look for something else than a domain of that name or UUID. Names of members never are: "lab-001". */
export function isMisread(ref: string): boolean {
  return misread.test(ref) || ref === '';
}

/** What virsh is to be told for a domain: its name, or its UUID where virsh would take the name for something else. */
export function domainRef({ name, uuid }: Pick<DomainState, 'name' | 'uuid'>): string {
  return isMisread(name) || likeUuid.test(name) ? uuid : name;
}

/** The same as a word of a shell, for commands in hints. */
export function virshWord(domain: Pick<DomainState, 'name' | 'uuid'>): string {
  return shellWord(domainRef(domain));
}
