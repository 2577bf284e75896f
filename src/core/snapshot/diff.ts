import { createTwoFilesPatch } from 'diff';
import { withoutSecrets } from './xml.js';

/** A unified diff of a domain's XML; both sides are printed the same way, so that only real changes show. */
export function diffDomains(name: string, before: string, after: string): string {
  return createTwoFilesPatch(`${name} (now)`, `${name} (then)`, withoutSecrets(before), withoutSecrets(after), undefined, undefined, {
    context: 3,
  })
    .split('\n')
    .slice(1)
    .join('\n');
}
