import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FleetEvent } from '../../../src/core/events/fleet-event.js';
import type { FleetView, HerdChange, MemberView } from '../../../src/dashboard/protocol.js';
import { Updates } from '../../../src/dashboard/server/live/apply.js';
import { Herd } from '../../../src/dashboard/server/live/herd.js';
import { type Sink, StreamClient } from '../../../src/dashboard/server/live/stream.js';
import type { FleetStatus } from '../../../src/services/fleet/status/status.js';

const row = (index: number, more: Partial<MemberView> = {}): MemberView => ({
  index,
  name: `lab-00${index}`,
  state: 'running',
  reason: 'booted',
  hasAgent: null,
  overlayBytes: 0,
  driftBytes: 0,
  address: null,
  sshPort: null,
  checkpointAt: null,
  startedAt: '2026-01-01T00:00:00.000Z',
  base: 'golden@000000000000',
  isOutdated: false,
  problems: [],
  hint: null,
  progress: null,
  ...more,
});

const head = (fleet: string, more: Partial<FleetView> = {}) => ({
  fleet,
  base: 'golden@000000000000',
  newerBase: null,
  problem: null,
  savings: null,
  operation: null,
  ...more,
});

const viewOf = (herd: Herd): Record<string, FleetView> =>
  Object.fromEntries(
    [...herd.fleets()].map(({ head: { fleet }, head: of, members }) => [fleet, { ...of, members: [...members.values()] }]),
  );

/** As the page does it. */
function follow(page: Map<string, FleetView>, change: HerdChange | undefined): void {
  for (const [fleet, part] of Object.entries(change?.fleets ?? {})) {
    if (part === null) {
      page.delete(fleet);
      continue;
    }
    const { members = [], gone = [], ...rest } = part;
    const before = page.get(fleet) ?? ({ fleet, members: [] } as unknown as FleetView);
    const rows = new Map(before.members.map((one) => [one.index, one]));
    for (const index of gone) rows.delete(index);
    for (const one of members) rows.set(one.index, one);
    page.set(fleet, { ...before, ...rest, members: [...rows.values()] });
  }
}

const sorted = (fleets: Iterable<[string, FleetView]>) =>
  [...fleets]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([, one]) => ({ ...one, members: [...one.members].sort((a, b) => a.index - b.index) }));

describe('changes on the wire', () => {
  it('bring a page that applies them to the state of the server, whatever happens', () => {
    const fleet = fc.constantFrom('lab', 'web');
    const index = fc.integer({ min: 1, max: 3 });
    const step = fc.oneof(
      fc.record({ do: fc.constant('member' as const), fleet, index, state: fc.constantFrom('running' as const, 'shutOff' as const) }),
      fc.record({ do: fc.constant('head' as const), fleet, problem: fc.constantFrom(null, 'gone') }),
      fc.record({ do: fc.constant('removeMember' as const), fleet, index }),
      fc.record({ do: fc.constant('removeFleet' as const), fleet }),
      fc.record({ do: fc.constant('flush' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const herd = new Herd(() => undefined);
        const page = new Map<string, FleetView>();
        for (const one of [...steps, { do: 'flush' as const }]) {
          if (one.do === 'flush') {
            follow(page, herd.takeChange());
            expect(sorted(page)).toEqual(sorted(Object.entries(viewOf(herd))));
            expect(herd.takeChange()).toBeUndefined();
          } else if (one.do === 'head') herd.setHead(head(one.fleet, { problem: one.problem }));
          else if (one.do === 'member') herd.setMember(one.fleet, row(one.index, { state: one.state }));
          else if (one.do === 'removeMember') herd.removeMember(one.fleet, one.index);
          else herd.removeFleet(one.fleet);
        }
      }),
    );
  });

  it('are none for what has changed back, and only the rows that have changed', () => {
    const herd = new Herd(() => undefined);
    herd.setHead(head('lab'));
    for (const index of [1, 2, 3]) herd.setMember('lab', row(index));
    expect(herd.takeChange()?.fleets?.lab).toMatchObject({
      base: 'golden@000000000000',
      members: [{ index: 1 }, { index: 2 }, { index: 3 }],
    });
    herd.setMember('lab', row(2, { state: 'paused' }));
    herd.setMember('lab', row(2));
    expect(herd.takeChange()).toBeUndefined();
    herd.setMember('lab', row(3, { driftBytes: 5 }));
    expect(herd.takeChange()).toEqual({ fleets: { lab: { members: [row(3, { driftBytes: 5 })] } } });
  });
});

const event = (more: Partial<FleetEvent>): FleetEvent => ({
  time: '2026-01-02T00:00:00.000Z',
  fleet: 'lab',
  member: null,
  what: 'state',
  from: null,
  to: null,
  operation: null,
  reason: null,
  ...more,
});

const statusOf = (states: Array<MemberView['state']>, more: Partial<FleetStatus> = {}): FleetStatus => ({
  fleet: 'lab',
  base: { name: 'golden', digest: '0'.repeat(64), problem: null },
  newerBase: null,
  counts: { running: 0, shutOff: 0, paused: 0, broken: 0, missing: 0 },
  members: states.map((state, position) => ({
    ...row(position + 1, { state }),
    uuid: '',
    mac: '',
    uptimeSeconds: state === 'running' ? 10 : null,
    outdated: false,
  })),
  ...more,
});

describe('events', () => {
  const setUp = () => {
    const time = { now: 0 };
    const herd = new Herd(() => undefined);
    const updates = new Updates(herd, () => time.now);
    updates.status(statusOf(['running', 'shutOff']), 0, Date.parse('2026-01-01T00:00:10Z'));
    const member = (index: number): MemberView | undefined => herd.fleet('lab')?.members.get(index);
    return { time, herd, updates, member };
  };

  it('change rows at once', () => {
    const { updates, member, herd } = setUp();
    expect(updates.event(event({ member: 'lab-001', to: 'shutOff', reason: 'destroyed' }))).toBe(true);
    expect(member(1)).toMatchObject({ state: 'shutOff', reason: 'destroyed', startedAt: null, hasAgent: false });
    updates.event(event({ member: 'lab-002', to: 'running', reason: 'booted' }));
    expect(member(2)).toMatchObject({ state: 'running', startedAt: '2026-01-02T00:00:00.000Z', hasAgent: false });
    updates.event(event({ member: 'lab-002', what: 'agent', to: 'connected' }));
    expect(member(2)?.hasAgent).toBe(true);
    updates.event(event({ fleet: null, what: 'connection', to: 'disconnected', reason: 'no socket' }));
    expect(herd.libvirt).toEqual({ isConnected: false, reason: 'no socket' });
  });

  it('are not undone by a reading that began before them', () => {
    const { time, updates, member } = setUp();
    time.now = 5;
    updates.event(event({ member: 'lab-001', to: 'shutOff', reason: 'destroyed' }));
    updates.status(statusOf(['running', 'shutOff']), 4, 0);
    expect(member(1)?.state).toBe('shutOff');
    updates.status(statusOf(['running', 'shutOff']), 6, 0);
    expect(member(1)?.state).toBe('running');
  });

  it('show the progress of a command, and its end', () => {
    const { updates, member, herd } = setUp();
    updates.event(event({ what: 'command', to: 'running', operation: { verb: 'reset', id: null } }));
    updates.event(event({ what: 'progress', member: 'lab-001', to: 'failed', operation: { verb: 'reset', id: 'x' } }));
    expect(herd.fleet('lab')?.head.operation).toMatchObject({ verb: 'reset', done: 0, failed: 1 });
    updates.event(event({ what: 'progress', member: 'lab-001', to: 'done', operation: { verb: 'reset', id: 'x' } }));
    expect(herd.fleet('lab')?.head.operation).toMatchObject({ verb: 'reset', done: 1, failed: 0 });
    expect(member(1)?.progress).toBe('done');
    updates.event(event({ what: 'command', from: 'running', to: 'done' }));
    expect(herd.fleet('lab')?.head.operation).toBeNull();
    expect(member(1)?.progress).toBeNull();
  });

  it('keep the time of a start, which readings round', () => {
    const { updates, member, herd } = setUp();
    herd.takeChange();
    updates.status(statusOf(['running', 'shutOff']), 1, Date.parse('2026-01-01T00:00:11Z'));
    expect(member(1)?.startedAt).toBe('2026-01-01T00:00:00.000Z');
    expect(herd.takeChange()).toBeUndefined();
    updates.status(statusOf(['running']), 1, Date.parse('2026-01-01T00:00:11Z'));
    expect(herd.takeChange()?.fleets?.lab).toEqual({ gone: [2] });
  });
});

describe('a page that does not read', () => {
  it('misses changes, and gets the state once it has read the rest', () => {
    const written: string[] = [];
    let drain: () => void = () => undefined;
    const sink = {
      writableLength: 0,
      write: (text: string) => written.push(text) > 0,
      once: (_: string, listener: () => void) => {
        drain = listener;
      },
      on: () => undefined,
      end: () => undefined,
    };
    let state = 0;
    const client = new StreamClient(sink as unknown as Sink, () => ({ id: `e-${++state}`, text: '{}' }));
    client.sendChange('e-0', '"before it is open"');
    client.open(undefined);
    client.sendChange('e-2', '"one"');
    sink.writableLength = 2 * 1024 * 1024;
    client.sendChange('e-3', '"two"');
    client.beat();
    sink.writableLength = 0;
    client.sendChange('e-4', '"three"');
    drain();
    client.sendChange('e-5', '"four"');
    expect(written).toEqual([
      'id: e-1\nevent: state\ndata: {}\n\n',
      'id: e-2\nevent: change\ndata: "one"\n\n',
      'id: e-2\nevent: state\ndata: {}\n\n',
      'id: e-5\nevent: change\ndata: "four"\n\n',
    ]);
  });
});
