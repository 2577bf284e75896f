import type { Check } from '../../services/preflight/checks.js';
import { plural } from '../terminal/format.js';
import { hang, page, widthOf } from '../terminal/layout.js';
import { withFlags } from '../terminal/repeated-flags.js';

const signs = { ok: '✔', warning: '!', failed: '✘' } as const;

/** Colors the sign and wraps the text to the right of the name. */
function placed(begin: string, text: string): string {
  const width = widthOf(process.stdout);
  return page(width === undefined ? `${begin}${text}` : hang(begin, withFlags(text), width));
}

export function renderChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map((check) => check.name.length));
  const lines = checks.flatMap(({ name, status, message, hint }) => [
    placed(`${signs[status]} ${name.padEnd(width)}  `, message),
    ...(hint === undefined ? [] : [placed(`  ${' '.repeat(width)}  → `, hint)]),
  ]);
  const failed = checks.filter((check) => check.status === 'failed').length;
  const warnings = checks.filter((check) => check.status === 'warning').length;
  lines.push(
    '',
    failed > 0 ? `${plural(failed, 'check')} failed.` : warnings > 0 ? `Ready, with ${plural(warnings, 'warning')}.` : 'Ready.',
  );
  return lines.join('\n');
}
