/** What gpgv(1) says with --status-fd; GnuPG's doc/DETAILS describes it. */

export type SignatureStatus =
  /** @param key fingerprint of the primary key */
  { verdict: 'good'; key: string } | { verdict: 'bad'; why: string } | { verdict: 'unknown'; why: string };

/** @param status the lines of --status-fd. Good only if gpgv succeeded, every signature is good, and no key has expired or is revoked. */
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
  if (found.has('NO_PUBKEY')) return { verdict: 'unknown', why: `key ${keyOf('NO_PUBKEY')} is not on this host` };
  if (found.has('ERRSIG')) return { verdict: 'unknown', why: `the signature of key ${keyOf('ERRSIG')} cannot be checked` };
  const valid = found.get('VALIDSIG')?.[0]?.split(' ') ?? [];
  const key = valid[9] ?? valid[0];
  if (exitCode === 0 && found.has('GOODSIG') && key !== undefined && /^[0-9A-F]{40,64}$/.test(key)) return { verdict: 'good', key };
  return { verdict: 'unknown', why: 'it contains no signature that gpgv can check' };
}
