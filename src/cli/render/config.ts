import type { EffectiveSetting } from '../../services/host/settings.js';
import { table } from '../terminal/format.js';

export function renderSettings(result: {
  settings: readonly EffectiveSetting[];
  ignored: ReadonlyArray<{ path: string; reason: string }>;
}): string {
  const shown = ({ value }: EffectiveSetting): string =>
    value === null ? '(built-in)' : Array.isArray(value) ? (value.length === 0 ? '(none)' : value.join(', ')) : value;
  const rows = table(result.settings, [
    { title: 'SETTING', value: ({ name }) => name },
    { title: 'VALUE', value: shown },
    { title: 'SOURCE', value: ({ source, from }) => (from === null ? source : `${source} ${from}`) },
  ]);
  return [rows, ...result.ignored.map(({ path, reason }) => `Ignored: ${path}: ${reason}.`)].join('\n');
}
