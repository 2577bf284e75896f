import { describe, expect, it } from 'vitest';
import type { FleetEvent } from '../../../src/core/events/fleet-event.js';
import type { FleetView, HerdView, JobView, MemberView } from '../../../src/dashboard/protocol.js';
import { applyChanges, herdOf, withJob } from '../../../src/dashboard/web/store/herd.js';

function member(index: number, more: Partial<MemberView> = {}): MemberView {
  const name = `lab-${String(index).padStart(3, '0')}`;
  return {
    ...{
      index,
      name,
      state: 'running',
      reason: 'booted',
      hasAgent: true,
      overlayBytes: 200_704,
      driftBytes: 0,
      address: null,
      sshPort: null,
    },
    ...{ checkpointAt: null, startedAt: null, base: 'debian@aa', isOutdated: false, problems: [], hint: null, progress: null },
    ...more,
  };
}

function fleet(name: string, members: MemberView[]): FleetView {
  return { fleet: name, base: 'debian@aa', newerBase: null, problem: null, savings: null, operation: null, members };
}

const about = { version: '0', host: 'h', uri: 'test:///default', store: '/s', user: 'root', isReadOnly: false };

function view(more: Partial<HerdView> = {}): HerdView {
  return {
    about,
    libvirt: { isConnected: true, reason: null },
    fleets: [fleet('lab', [member(2), member(1)])],
    jobs: [],
    events: [],
    ...more,
  };
}

function event(to: string): FleetEvent {
  return {
    time: '2026-01-01T00:00:00.000Z',
    fleet: 'lab',
    member: 'lab-001',
    what: 'state',
    from: null,
    to,
    operation: null,
    reason: null,
  };
}

function job(id: string, more: Partial<JobView> = {}): JobView {
  return {
    ...{
      id,
      request: { verb: 'start', fleet: 'lab', members: [1] },
      startedAt: '2026-01-01T00:00:00.000Z',
      endedAt: null,
      state: 'running',
    },
    ...{ progress: null, counts: {}, failures: [], error: null, notes: [] },
    ...more,
  };
}

describe('what the page knows', () => {
  it('sorts fleets by name and members by index', () => {
    const herd = herdOf(view({ fleets: [fleet('lab10', []), fleet('lab2', [member(3), member(1)])] }));
    expect(herd.fleets.map(({ fleet: name }) => name)).toEqual(['lab2', 'lab10']);
    expect(herd.fleets[0]?.members.map(({ index }) => index)).toEqual([1, 3]);
  });

  it('replaces changed rows only, and keeps the other objects', () => {
    const before = herdOf(view({ fleets: [fleet('lab', [member(1), member(2)]), fleet('web', [member(1)])] }));
    const after = applyChanges(before, [{ fleets: { lab: { members: [member(2, { state: 'paused' })] } } }]);
    expect(after.fleets[0]?.members[0]).toBe(before.fleets[0]?.members[0]);
    expect(after.fleets[0]?.members[1]?.state).toBe('paused');
    expect(after.fleets[1]).toBe(before.fleets[1]);
    expect(before.fleets[0]?.members[1]?.state).toBe('running');
  });

  it('applies several changes in order', () => {
    const after = applyChanges(herdOf(view()), [
      { fleets: { lab: { members: [member(3), member(1, { state: 'shutOff' })] } } },
      { fleets: { lab: { gone: [2, 3], problem: 'changed' } } },
      { fleets: { lab: { members: [member(1, { state: 'paused' })] } } },
    ]);
    expect(after.fleets).toHaveLength(1);
    expect(after.fleets[0]).toMatchObject({ problem: 'changed', members: [{ index: 1, state: 'paused' }] });
  });

  it('removes fleets, adds new ones, and starts anew if one was replaced', () => {
    const { members, ...fields } = fleet('new', [member(7)]);
    const after = applyChanges(herdOf(view()), [{ fleets: { lab: null, new: { ...fields, members } } }]);
    expect(after.fleets.map((one) => [one.fleet, one.members.length])).toEqual([['new', 1]]);
    const again = applyChanges(herdOf(view()), [{ fleets: { lab: null } }, { fleets: { lab: { base: 'b@1', members: [member(9)] } } }]);
    expect(again.fleets).toMatchObject([{ fleet: 'lab', base: 'b@1', members: [{ index: 9 }] }]);
  });

  it('keeps null as a value of a field', () => {
    const operation = { verb: 'reset', done: 1, failed: 0, total: 2, isInterrupted: false };
    const during = applyChanges(herdOf(view()), [{ fleets: { lab: { operation } } }]);
    expect(during.fleets[0]?.operation).toEqual(operation);
    expect(applyChanges(during, [{ fleets: { lab: { operation: null } } }]).fleets[0]?.operation).toBeNull();
  });

  it('bounds the events, and numbers them', () => {
    const herd = applyChanges(herdOf(view({ events: [event('first')] })), [
      { events: Array.from({ length: 1500 }, (_, index) => event(String(index))) },
    ]);
    expect(herd.events).toHaveLength(1000);
    expect(herd.events.at(-1)).toMatchObject({ number: 1501, event: { to: '1499' } });
  });

  it('updates jobs by their id; a stale answer does not replace a report of the stream', () => {
    const herd = applyChanges(withJob(herdOf(view()), job('a')), [{ jobs: [job('a', { state: 'done' }), job('b')] }]);
    expect(withJob(herd, job('a')).jobs.map(({ id, state }) => [id, state])).toEqual([
      ['a', 'done'],
      ['b', 'running'],
    ]);
  });

  it('takes over what libvirt says', () => {
    const libvirt = { isConnected: false, reason: 'refused' };
    expect(applyChanges(herdOf(view()), [{ libvirt }]).libvirt).toBe(libvirt);
  });
});
