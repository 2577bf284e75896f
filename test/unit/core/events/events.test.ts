import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDomainEvent } from '../../../../src/core/events/libvirt-event.js';
import { type FleetObservation, FleetTracker } from '../../../../src/core/events/tracker.js';
import type { DomainState } from '../../../../src/core/fleet/observation.js';

const at = '2026-01-01 10:00:00.123+0000: ';
const time = '2026-01-01T10:00:00.123Z';
const members = [1, 2].map((index) => ({ index, name: `lab-00${index}`, uuid: `0000000${index}-0000-4000-8000-000000000000` }));
const idle: FleetObservation = { fleet: 'lab', members, operation: undefined, runner: undefined, ended: undefined, checkpoints: new Map() };
const run = (verb: string, since = 'then') => ({ verb, since });
const domain = (index: number, state: DomainState['state'], reason: string, uuid = members[index - 1]?.uuid ?? ''): DomainState => ({
  name: `lab-00${index}`,
  uuid,
  state,
  reason,
});
const event = (name: string, detail: string, kind = 'lifecycle') => ({ time, domain: name, event: kind, detail });

function tracked(states: DomainState[]): FleetTracker {
  const tracker = new FleetTracker();
  tracker.observeFleet(idle, time);
  tracker.observeDomains(states, time);
  return tracker;
}

describe('lines of virsh event', () => {
  it('are parsed', () => {
    expect(parseDomainEvent(`${at}event 'lifecycle' for domain 'lab-001': Stopped Destroyed`)).toEqual(
      event('lab-001', 'Stopped Destroyed'),
    );
    expect(parseDomainEvent(`${at}event 'agent-lifecycle' for domain 'lab-001': state: 'connected' reason: 'channel event'`)).toMatchObject(
      {
        event: 'agent-lifecycle',
        domain: 'lab-001',
        detail: `state: 'connected' reason: 'channel event'`,
      },
    );
    for (const other of ['', 'events received: 3', `event 'lifecycle' for domain 'lab-001': Stopped Destroyed`])
      expect(parseDomainEvent(other)).toBeUndefined();
  });

  it('never name a domain that only has another domain in its name', () => {
    const line = `${at}event 'lifecycle' for domain 'lab-001': Stopped Destroyed': Started Booted`;
    expect(parseDomainEvent(line)).toEqual(event(`lab-001': Stopped Destroyed`, 'Started Booted'));
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 60 }), (name) => {
        const parsed = parseDomainEvent(`${at}event 'lifecycle' for domain '${name}': Started Booted`);
        expect(parsed === undefined || parsed.domain === name).toBe(true);
      }),
    );
  });
});

describe('changes of members', () => {
  it('come from events, once', () => {
    const tracker = tracked([domain(1, 'running', 'booted'), domain(2, 'shutOff', 'shutdown')]);
    const changes = (name: string, detail: string) => tracker.domainEvent(event(name, detail)).events;
    expect(changes('lab-001', 'Suspended Paused')).toMatchObject([{ member: 'lab-001', from: 'running', to: 'paused', reason: 'paused' }]);
    expect(changes('lab-001', 'Suspended Paused')).toEqual([]);
    expect(changes('lab-001', 'Resumed Unpaused')).toMatchObject([{ from: 'paused', to: 'running' }]);
    expect(changes('lab-002', 'Started Booted')).toMatchObject([{ member: 'lab-002', from: 'shutOff', to: 'running', reason: 'booted' }]);
    expect(changes('lab-002', 'Stopped Crashed')).toMatchObject([{ from: 'running', to: 'shutOff', reason: 'crashed' }]);
    expect(changes('other', 'Started Booted')).toEqual([]);
    // A running domain that is undefined keeps running.
    expect(changes('lab-001', 'Undefined Removed')).toEqual([]);
    expect(changes('lab-002', 'Undefined Removed')).toMatchObject([{ to: 'missing' }]);
  });

  it('are found by comparing states if events were missed', () => {
    const tracker = tracked([domain(1, 'running', 'booted'), domain(2, 'running', 'booted')]);
    expect(tracker.observeDomains([domain(1, 'running', 'booted'), domain(2, 'shutOff', 'crashed')], time)).toMatchObject([
      { member: 'lab-002', from: 'running', to: 'shutOff', reason: 'crashed' },
    ]);
    expect(tracker.observeDomains([domain(2, 'shutOff', 'crashed')], time)).toMatchObject([{ member: 'lab-001', to: 'missing' }]);
    // On the way to running.
    expect(tracker.observeDomains([domain(1, 'paused', 'starting up'), domain(2, 'shutOff', 'crashed')], time)).toEqual([]);
  });

  it('are not those of another domain that has the name of a member', () => {
    const tracker = tracked([domain(1, 'running', 'booted', '99999999-0000-4000-8000-000000000000')]);
    for (const detail of ['Stopped Destroyed', 'Started Booted', 'Defined Added'])
      expect(tracker.domainEvent(event('lab-001', detail))).toEqual({ events: [], isUnclear: true });
    // Its states say whose domain it is.
    expect(tracker.observeDomains([domain(1, 'running', 'booted')], time)).toMatchObject([{ from: 'missing', to: 'running' }]);
  });

  it('include the agent and disk errors', () => {
    const tracker = tracked([domain(1, 'running', 'booted')]);
    const changes = (kind: string, detail: string) => tracker.domainEvent(event('lab-001', detail, kind)).events;
    expect(changes('agent-lifecycle', `state: 'connected' reason: 'channel event'`)).toMatchObject([{ what: 'agent', to: 'connected' }]);
    expect(changes('agent-lifecycle', `state: 'disconnected' reason: 'domain started'`)).toEqual([]);
    const full = changes('io-error-reason', '/store/x due to y.qcow2 (virtio-disk0) pause due to enospc');
    expect(full).toMatchObject([{ what: 'disk', to: 'paused', reason: 'enospc' }]);
    expect(changes('rtc-change', '3600')).toEqual([]);
  });
});

describe('commands', () => {
  const operation = (done: number[], failed: Array<[number, string]> = []) => ({
    operation: { verb: 'reset', id: 'o1', done: new Set(done), failed: new Map(failed) },
  });
  const short = (seen: FleetObservation, tracker: FleetTracker) =>
    tracker.observeFleet(seen, time).map(({ what, member, from, to, reason, operation: by }) => [what, member, from, to, reason, by?.verb]);

  it('are reported with the members that they finish', () => {
    const tracker = tracked([]);
    expect(short({ ...idle, runner: run('reset') }, tracker)).toEqual([['command', null, null, 'running', null, 'reset']]);
    expect(short({ ...idle, runner: run('reset'), ...operation([1]) }, tracker)).toEqual([
      ['progress', 'lab-001', null, 'done', null, 'reset'],
    ]);
    expect(short({ ...idle, runner: run('reset'), ...operation([1], [[2, 'TOOL_FAILED']]) }, tracker)).toEqual([
      ['progress', 'lab-002', null, 'failed', 'TOOL_FAILED', 'reset'],
    ]);
    // Killed, then resumed.
    expect(short({ ...idle, ...operation([1], [[2, 'TOOL_FAILED']]) }, tracker)).toEqual([
      ['command', null, 'running', 'interrupted', null, 'reset'],
    ]);
    expect(short({ ...idle, runner: run('resume'), ...operation([1, 2], [[2, 'TOOL_FAILED']]) }, tracker)).toEqual([
      ['command', null, 'interrupted', 'running', null, 'reset'],
      ['progress', 'lab-002', null, 'done', null, 'reset'],
    ]);
    expect(short(idle, tracker)).toEqual([['command', null, 'running', 'done', null, 'reset']]);
    expect(short(idle, tracker)).toEqual([]);
  });

  it('are told apart if one began before the end of the other was seen', () => {
    const tracker = tracked([]);
    const seen = { ...idle, runner: run('reset'), ...operation([1]) };
    tracker.observeFleet(seen, time);
    const ended = { time, startedAt: time, id: 'o1', verb: 'reset', done: '1-2', failed: {}, diskBytes: 0 };
    expect(short({ ...idle, ended, runner: run('stop', 'later') }, tracker)).toEqual([
      ['progress', 'lab-002', null, 'done', null, 'reset'],
      ['command', null, 'running', 'done', null, 'reset'],
      ['command', null, null, 'running', null, 'stop'],
    ]);
    // The same command in another run: it was killed and resumed.
    const again = tracked([]);
    again.observeFleet(seen, time);
    expect(short({ ...seen, runner: run('resume', 'later') }, again)).toEqual([
      ['command', null, 'running', 'interrupted', null, 'reset'],
      ['command', null, 'interrupted', 'running', null, 'reset'],
    ]);
  });

  it('are reported completely if they ended before they were read', () => {
    const tracker = tracked([]);
    const ended = { time, startedAt: time, id: 'o2', verb: 'spawn', done: '1', failed: { 2: 'TOOL_FAILED' }, diskBytes: 0 };
    tracker.observeFleet(
      { ...idle, runner: run('spawn'), operation: { verb: 'spawn', id: 'o2', done: new Set(), failed: new Map() } },
      time,
    );
    expect(short({ ...idle, ended }, tracker)).toEqual([
      ['progress', 'lab-001', null, 'done', null, 'spawn'],
      ['progress', 'lab-002', null, 'failed', 'TOOL_FAILED', 'spawn'],
      ['command', null, 'running', 'done', null, 'spawn'],
    ]);
    expect(short({ ...idle, ended }, tracker)).toEqual([]);
    // Too fast to be seen at all.
    expect(short({ ...idle, ended: { ...ended, id: 'o3', done: '1-2', failed: {} } }, tracker)).toEqual([
      ['progress', 'lab-001', null, 'done', null, 'spawn'],
      ['progress', 'lab-002', null, 'done', null, 'spawn'],
      ['command', null, null, 'done', null, 'spawn'],
    ]);
    // Also in a fleet that is new; but not one that was there before anything was watched.
    const kinds = (isBeginning: boolean) => new FleetTracker().observeFleet({ ...idle, ended }, time, isBeginning).map(({ what }) => what);
    expect(kinds(false)).toEqual(['fleet', 'progress', 'progress', 'command']);
    expect(kinds(true)).toEqual(['fleet']);
  });

  it('include checkpoints, and fleets that come and go', () => {
    const tracker = new FleetTracker();
    expect(short(idle, tracker)).toEqual([['fleet', null, null, 'present', null, undefined]]);
    expect(short({ ...idle, checkpoints: new Map([['lab-001', time]]) }, tracker)).toEqual([
      ['checkpoint', 'lab-001', null, time, null, undefined],
    ]);
    expect(short(idle, tracker)).toEqual([['checkpoint', 'lab-001', time, null, null, undefined]]);
    tracker.observeFleet({ ...idle, runner: run('teardown') }, time);
    expect(tracker.forgetFleet('lab', time)).toMatchObject([
      { what: 'command', from: 'running', to: 'done', operation: { verb: 'teardown' } },
      { what: 'fleet', from: 'present', to: 'missing' },
    ]);
    expect([tracker.forgetFleet('lab', time), tracker.domainEvent(event('lab-001', 'Started Booted')).events]).toEqual([[], []]);
  });
});
