import type { CompactOutcome, MemberCompaction } from '../../services/fleet/compact.js';
import { bytes, countsLine, plural, seconds, table } from '../terminal/format.js';
import { page } from '../terminal/layout.js';
import { renderFailures } from './failures.js';

/** Members that were not compacted are only counted. */
export function renderCompact({ fleet, seconds: took, counts, freedBytes, members, interrupted }: CompactOutcome): string {
  const told = members.filter(({ outcome }) => outcome === 'compacted');
  const lines =
    told.length === 0
      ? []
      : [
          table<MemberCompaction>(told, [
            { title: 'MEMBER', value: (member) => member.name },
            { title: 'BEFORE', value: (member) => bytes(member.beforeBytes), align: 'right' },
            { title: 'AFTER', value: (member) => bytes(member.afterBytes), align: 'right' },
            { title: 'FREED', value: (member) => bytes(member.beforeBytes - member.afterBytes), align: 'right' },
          ]),
        ];
  const rest = renderFailures(members.filter(({ error }) => error !== undefined));
  const words = { unchanged: 'already minimal', skipped: 'skipped (running)' };
  const gain = counts.compacted === 0 ? 'nothing freed' : `${bytes(freedBytes)} freed in ${plural(counts.compacted, 'overlay')}`;
  rest.push(`${fleet}: ${gain} in ${seconds(took)}: ${countsLine(counts, words)}`);
  if (interrupted) rest.push('Interrupted. Completed members are kept; run the same command again for the rest.');
  return [...lines, page(rest.join('\n'))].join('\n');
}
