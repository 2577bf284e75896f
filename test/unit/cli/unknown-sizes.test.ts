import { describe, expect, it } from 'vitest';
import { estimateCsv, renderEstimate } from '../../../src/cli/render/estimate.js';
import { renderFleets, renderStatus } from '../../../src/cli/render/status.js';
import { statusFields, statusRows } from '../../../src/cli/render/status-fields.js';
import { renderLoss } from '../../../src/cli/render/teardown.js';
import { renderRows } from '../../../src/cli/terminal/rows.js';
import { estimateFleet, totalEstimate } from '../../../src/core/fleet/estimate.js';
import type { MemberStatus } from '../../../src/services/fleet/status/member-status.js';
import type { FleetStatus, FleetSummary } from '../../../src/services/fleet/status/status.js';

/** Platforms that do not report the sizes of overlays. */

const digest = 'a'.repeat(64);
const member = (index: number, sizes: Pick<MemberStatus, 'overlayBytes' | 'driftBytes'>): MemberStatus => ({
  ...{ index, name: `lab-00${index}`, uuid: '', mac: '', address: null, sshPort: null, state: 'running', reason: 'active' },
  ...{ ...sizes, checkpointAt: null, uptimeSeconds: null, base: `golden@${digest}`, outdated: false, problems: [], hint: null },
});
const status = (...members: MemberStatus[]): FleetStatus => ({
  fleet: 'lab',
  base: { name: 'golden', digest, problem: null },
  newerBase: null,
  counts: { running: members.length, shutOff: 0, paused: 0, broken: 0, missing: 0 },
  members,
});
const unknown = { overlayBytes: null, driftBytes: null };
const known = { overlayBytes: 4096, driftBytes: 1024 };

describe('sizes that are not known', () => {
  it('are a hyphen in a table, and an empty field in CSV', () => {
    expect(renderStatus(status(member(1, unknown)))).toMatch(/^lab-001 +running +- +- +- +active$/m);
    const csv = renderRows(statusRows([status(member(1, unknown))]), Object.values(statusFields), [], {
      output: 'csv',
      columns: 'member,overlay,drift',
    });
    expect(csv).toBe('member,overlay,drift\nlab-001,,');
  });

  it.each(['drift', '-drift'])('come last with --sort=%s', (sort) => {
    const rows = statusRows([status(member(1, unknown), member(2, known), member(3, { ...known, driftBytes: 7 }))]);
    const names = renderRows(rows, Object.values(statusFields), [], { output: 'csv', columns: 'member', sort }).split('\n').slice(1);
    expect(names.at(-1)).toBe('lab-001');
    expect(names).toHaveLength(3);
  });

  it('are not zero in a list of fleets', () => {
    const summary: FleetSummary = {
      ...{ fleet: 'lab', members: 1, base: 'golden', counts: null, overlayBytes: null, unfinished: null, running: null, problem: null },
    };
    expect(renderFleets([summary], '/store', { output: 'csv', columns: 'fleet,overlays' })).toBe('fleet,overlays\nlab,');
  });

  it('are not named in what a teardown removes', () => {
    const loss = { fleet: 'lab', members: 2, running: 1, checkpoints: 0 };
    expect(renderLoss({ ...loss, driftBytes: null })).toBe('2 members (1 running), everything that the guests have written');
    expect(renderLoss({ ...loss, driftBytes: 0 })).toBe('2 members (1 running), 0 B of drift');
  });
});

describe('an estimate', () => {
  const base = { name: 'golden', digest, bytes: 1024 ** 3 };
  const report = totalEstimate(
    [estimateFleet({ fleet: 'lab', members: 12, base, hosts: 2 }), estimateFleet({ fleet: 'web', members: 3, base, hosts: null })],
    [{ fleet: 'old', error: { code: 'STATE_DAMAGED', message: 'fleet.json of old is damaged' } }],
  );

  it('labels every figure, and says why it is one', () => {
    const text = renderEstimate(report);
    expect(text).toMatch(/^FLEET +MEMBERS +BASE +HOSTS +FULL COPIES \(EST\.\) +SHARED \(EST\.\) +SAVED \(EST\.\)$/m);
    expect(text).toMatch(/^lab +12 +\S+ +2 +~12 GiB +~2 GiB +~83\.3 %$/m);
    expect(text).toMatch(/^web +3 +\S+ +- +~3 GiB +~3 GiB +~0 %$/m);
    expect(text).toContain('Estimated: the cloud does not report how much its overlays use.');
    expect(text).toContain('Total: 15 members. Saved: about 10 GiB');
    expect(text).toContain('nothing counts as shared');
    expect(text).toContain('! old is not included: fleet.json of old is damaged');
    for (const [figure] of text.matchAll(/\S*\d+(\.\d+)? (GiB|%)/g)) expect([figure, /^~|^10 GiB$/.test(figure)]).toEqual([figure, true]);
  });

  it('without fleets says so', () => expect(renderEstimate(totalEstimate([]))).toMatch('Nothing to report'));

  it('as CSV says in each column that it is estimated, and leaves unknown hosts empty', () => {
    expect(estimateCsv(report).split('\n')).toEqual([
      'fleet,members,hosts,base_bytes,estimated_full_copies_bytes,estimated_shared_bytes,estimated_saved_bytes',
      'lab,12,2,1073741824,12884901888,2147483648,10737418240',
      'web,3,,1073741824,3221225472,3221225472,0',
    ]);
  });
});
