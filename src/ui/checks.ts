import type { Check } from '../services/checks.js';
import { plural } from './format.js';

const signs = { ok: '✔', warning: '!', failed: '✘' } as const;

export function renderChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map((check) => check.name.length));
  const lines = checks.flatMap(({ name, status, message, hint }) => [
    `${signs[status]} ${name.padEnd(width)}  ${message}`,
    ...(hint === undefined ? [] : [`  ${' '.repeat(width)}  → ${hint}`]),
  ]);
  const failed = checks.filter((check) => check.status === 'failed').length;
  const warnings = checks.filter((check) => check.status === 'warning').length;
  lines.push(
    '',
    failed > 0 ? `${plural(failed, 'check')} failed.` : warnings > 0 ? `Ready, with ${plural(warnings, 'warning')}.` : 'Ready.',
  );
  return lines.join('\n');
}
