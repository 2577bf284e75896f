import type { GeneralisationWarning } from '../core/generalisation.js';
import type { BaseListing } from '../services/bases.js';
import { bytes, table } from './format.js';

export function renderBases(bases: readonly BaseListing[], damaged: ReadonlyArray<{ path: string; reason: string }>): string {
  const lines = [
    bases.length === 0
      ? 'No base images in the store. Add one: cowherd base add golden.qcow2'
      : table<BaseListing>(bases, [
          { title: 'BASE', value: (base) => base.ref },
          { title: 'FORMAT', value: (base) => base.format },
          { title: 'ON DISK', value: (base) => bytes(base.allocatedBytes), align: 'right' },
          { title: 'VIRTUAL', value: (base) => bytes(base.virtualBytes), align: 'right' },
          { title: 'IMPORTED', value: (base) => base.importedAt.slice(0, 16).replace('T', ' ') },
          { title: 'FLEETS', value: (base) => base.fleets.join(', ') || '-' },
          { title: 'STATE', value: (base) => (base.problems.length === 0 ? 'sealed' : `CHANGED: ${base.problems.join(', ')}`) },
        ]),
  ];
  for (const { path, reason } of damaged) lines.push(`! ${path}: ${reason}`);
  return lines.join('\n');
}

export function renderBase(base: BaseListing & { source?: string; generalisation?: GeneralisationWarning[] }): string {
  const rows: Array<[string, string]> = [
    ['base', base.ref],
    ['sha256', base.digest],
    ['file', base.path],
    ['format', base.format],
    ['on disk', bytes(base.allocatedBytes)],
    ['virtual', bytes(base.virtualBytes)],
    ['imported', base.importedAt],
    ...(base.source === undefined ? [] : [['from', base.source] as [string, string]]),
    ['fleets', base.fleets.join(', ') || 'none'],
    ['state', base.problems.length === 0 ? 'as imported' : `CHANGED: ${base.problems.join(', ')}`],
  ];
  const warnings = (base.generalisation ?? []).flatMap(({ what, hint }) => [`! ${what}`, `  → ${hint}`]);
  return [...rows.map(([key, value]) => `${key.padEnd(10)}${value}`), ...warnings].join('\n');
}
