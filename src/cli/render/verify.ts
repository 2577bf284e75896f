import type { Finding } from '../../core/finding.js';
import type { Verification } from '../../services/verify/verify.js';
import { bytes, plural, seconds } from '../terminal/format.js';
import { page } from '../terminal/layout.js';

/** Consecutive findings with the same hint show it once. */
export function renderVerification({ findings, fixed, busy, unknown, looked, seconds: took }: Verification): string {
  const lines: string[] = [];
  let lastHint = '';
  for (const found of findings) {
    if (lastHint !== '' && (found.fixed || found.hint !== lastHint)) lines.push(`  → ${lastHint}`);
    lines.push(line(found));
    lastHint = found.fixed ? '' : found.hint;
  }
  if (lastHint !== '') lines.push(`  → ${lastHint}`);
  for (const what of busy) lines.push(`? ${what}: not checked: locked by another run. Run verify again when that run is done`);
  if (unknown.length > 0) {
    const more = unknown.length > 5 ? `, and ${unknown.length - 5} more` : '';
    lines.push(`note: not managed by cowherd, ignored: ${unknown.slice(0, 5).join(', ')}${more}`);
  }
  const { fleets, members, bases, snapshots } = looked;
  const what = [plural(fleets, 'fleet'), plural(members, 'member'), plural(bases, 'base image')];
  if (snapshots > 0) what.push(`${plural(snapshots, 'domain')} with snapshots`);
  const open = findings.length - fixed;
  const verdict = open > 0 ? `${plural(open, 'finding')}` : `no ${busy.length > 0 ? 'other ' : ''}problems`;
  const unjudged = busy.length > 0 ? `, ${busy.length} not checked` : '';
  lines.push(`${verdict}${unjudged}${fixed > 0 ? `, ${fixed} fixed` : ''}: checked ${what.join(', ')} in ${seconds(took)}`);
  return page(lines.join('\n'));
}

function line({ kind, what, fleet, message, bytes: size, fixed }: Finding): string {
  const where = fleet === null || what.startsWith(fleet) ? what : `${fleet}: ${what}`;
  return `${fixed ? 'fixed' : '!'} ${kind} ${where}: ${message}${size > 0 ? ` (${bytes(size)})` : ''}`;
}
