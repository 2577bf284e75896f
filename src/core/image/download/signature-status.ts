/** What gpgv(1) says with --status-fd; GnuPG's doc/DETAILS describes it. */

export type SignatureStatus =
  /** @param key fingerprint of the primary key */
  { verdict: 'good'; key: string } | { verdict: 'bad'; why: string } | { verdict: 'unknown'; why: string };

/** ERRSIG of a signature whose public key is not in the keyring. */
const missingKey = /^[0-9A-F]+ \d+ \d+ \w+ \S+ 9( |$)/;

/**
 * Good if a signature is good and gpgv succeeded, or failed only since further signatures are by other keys, as while a publisher changes
 * its key. Not good if any key has expired or is revoked.
 * @param status the lines of --status-fd
 */
export function parseSignatureStatus(status: string, exitCode: number): SignatureStatus {
  const found = new Map<string, string[]>();
  for (const line of status.split('\n')) {
    const [mark, word = '', ...values] = line.trim().split(' ');
    if (mark === '[GNUPG:]') found.set(word, [...(found.get(word) ?? []), values.join(' ')]);
  }
  const keyOf = (word: string): string => /^[0-9A-F]{8,64}\b/.exec(found.get(word)?.[0] ?? '')?.[0] ?? 'unknown';
  if (found.has('BADSIG'))
    return { verdict: 'bad', why: `the signature of key ${keyOf('BADSIG')} does not match: the content was changed` };
  if (found.has('REVKEYSIG')) return { verdict: 'bad', why: `key ${keyOf('REVKEYSIG')} is revoked` };
  if (found.has('EXPKEYSIG')) return { verdict: 'unknown', why: `key ${keyOf('EXPKEYSIG')} has expired` };
  if (found.has('EXPSIG')) return { verdict: 'unknown', why: `the signature of key ${keyOf('EXPSIG')} has expired` };
  const unchecked = found.get('ERRSIG') ?? [];
  const isComplete = exitCode === 0 && unchecked.length === 0;
  const isByOthers = exitCode === 2 && unchecked.length > 0 && unchecked.every((one) => missingKey.test(one));
  const valid = found.get('VALIDSIG')?.[0]?.split(' ') ?? [];
  const key = valid[9] ?? valid[0];
  const isSigned = found.has('GOODSIG') && key !== undefined && /^[0-9A-F]{40,64}$/.test(key);
  if (isSigned && (isComplete || isByOthers)) return { verdict: 'good', key };
  if (found.has('NO_PUBKEY')) return { verdict: 'unknown', why: `key ${keyOf('NO_PUBKEY')} is not on this host` };
  if (unchecked.length > 0) return { verdict: 'unknown', why: `the signature of key ${keyOf('ERRSIG')} cannot be checked` };
  return { verdict: 'unknown', why: 'it contains no signature that gpgv can check' };
}
