import type { MemberStatus } from '../../../services/fleet/status/member-status.js';
import type { ReportPage } from '../../../services/fleet/status/page.js';
import { stateWords } from '../status-fields.js';

/** One member on the page; null is unknown. */
export interface MemberRow {
  fleet: string;
  index: number | null;
  name: string;
  state: string;
  /** Whether its state is a problem, or it has others. */
  isBroken: boolean;
  driftBytes: number | null;
  overlayBytes: number | null;
  memoryBytes: number | null;
  base: string;
  isOutdated: boolean;
  problems: string[];
}

/** All members, from libvirt and the files. Sizes are those of the report, so that they add up to its totals. */
export function memberRows({ report, statuses }: Pick<ReportPage, 'report' | 'statuses'>): MemberRow[] {
  const reports = new Map(report.fleets.map((fleet) => [fleet.fleet, fleet]));
  const seen = new Set(statuses.map(({ fleet }) => fleet));
  const known = statuses.flatMap(({ fleet, members }) => {
    const sizes = new Map(reports.get(fleet)?.perMember.map((member) => [member.name, member]));
    return members.map((member) => rowOf(fleet, member, sizes.get(member.name)));
  });
  // Without libvirt there are only files.
  const others = report.fleets
    .filter(({ fleet }) => !seen.has(fleet))
    .flatMap(({ fleet, perMember }) =>
      perMember.map(({ name, allocatedBytes, driftBytes }) => ({
        ...{ fleet, index: null, name, state: 'unknown', isBroken: false, memoryBytes: null, base: '', isOutdated: false, problems: [] },
        ...{ driftBytes, overlayBytes: allocatedBytes },
      })),
    );
  return [...known, ...others];
}

export function groupBy(rows: readonly MemberRow[], keyOf: (row: MemberRow) => string): Map<string, MemberRow[]> {
  const groups = new Map<string, MemberRow[]>();
  for (const row of rows) {
    const those = groups.get(keyOf(row));
    if (those === undefined) groups.set(keyOf(row), [row]);
    else those.push(row);
  }
  return groups;
}

function rowOf(fleet: string, member: MemberStatus, size: { allocatedBytes: number; driftBytes: number } | undefined): MemberRow {
  const { index, name, state, reason, memory, base, outdated, problems } = member;
  const word = stateWords[state] ?? state;
  return {
    ...{ fleet, index, name, base, problems },
    state: state === 'running' || reason === '' ? word : `${word} (${reason})`,
    isBroken: state === 'broken' || state === 'missing' || problems.length > 0,
    driftBytes: size?.driftBytes ?? null,
    overlayBytes: size?.allocatedBytes ?? null,
    memoryBytes: memory?.proportionalBytes ?? memory?.residentBytes ?? null,
    isOutdated: outdated,
  };
}
