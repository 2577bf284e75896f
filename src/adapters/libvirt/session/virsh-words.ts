import { isMisread } from '../../../core/domain/domain-ref.js';
import { CowherdError } from '../../../core/errors.js';
import { quote } from './virsh-session.js';

/**
 * A domain as a word of virsh's command line, for every command that names a domain.
 * @param ref a UUID, or a name; see {@link domainRef}
 * @throws NOT_SUPPORTED for a name that virsh would read as the id of another domain, or as an option
 */
export function domainWord(ref: string): string {
  if (!isMisread(ref)) return quote(ref);
  throw new CowherdError('NOT_SUPPORTED', `virsh cannot use ${JSON.stringify(ref)} as a domain name`, {
    hint: 'Rename that domain: "virsh list --all --name --uuid" shows its UUID, then virsh domrename UUID NEW',
  });
}
