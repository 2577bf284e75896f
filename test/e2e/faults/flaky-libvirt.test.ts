import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fault, faulty } from '../../support/flaky-libvirt.js';
import { guest, Lab } from '../../support/lab.js';

/** test/soak/flaky-libvirt.test.ts is the long version with every command and fault. */
describe('a slow or failing libvirt', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
    await lab.ok('base', 'add', await lab.golden('golden.qcow2'));
  });
  afterAll(() => lab.close());

  it('fails only the member whose call is not answered, and an incomplete list is never trusted', async () => {
    const fleet = lab.fleet('hang');
    const spawning = ['spawn', fleet, '--base', 'golden', '--count', '3', '--no-start', ...guest];
    // The first member is defined alone, with schema validation.
    const { exitCode, json } = await faulty(lab, { match: '^define', nth: 2, do: 'hang' }, '20s', ...spawning);
    expect(exitCode, JSON.stringify(json)).toBe(4);
    const failed = json.members.filter((member: { outcome: string }) => member.outcome === 'failed');
    expect(failed).toHaveLength(1);
    expect(failed[0].error.message).toMatch(`Could not define ${failed[0].name}: libvirt did not respond`);
    expect((await lab.ok(...spawning)).counts).toMatchObject({ created: 1, failed: 0 });

    // An unreadable reply for one member does not affect the others.
    const silent = 'Timed out during operation: cannot acquire state change lock';
    for (const [match, verb] of [
      ['^metadata', 'start'],
      ['^dumpxml', 'start'],
      ['^metadata', 'stop'],
      ['^dumpxml', 'stop'],
    ] as const) {
      if (verb === 'stop') await lab.ok('start', fleet);
      const { json } = await faulty(lab, { match, nth: 2, do: 'error', text: silent }, '60s', verb, fleet, '--timeout', '1s');
      const seen = json.members.map((row: any) => row.error?.message ?? 'done');
      expect(seen[1], JSON.stringify({ match, verb, json })).toMatch(/state change lock/);
      expect([seen[0], seen[2]].join()).not.toMatch(/state change lock/);
      await lab.answer('stop', fleet, '--force', '--timeout', '1s');
    }
    // A start interrupted by a signal within libvirt is repeated; a persistent fault is reported.
    const interrupted = "Failed to start domain 'x'\nerror: failed to load cgroup BPF prog: Resource temporarily unavailable";
    const start = (times: number) => faulty(lab, { match: '^start', times, do: 'error', text: interrupted }, '60s', 'start', fleet, '1');
    expect((await start(2)).json.counts).toMatchObject({ started: 1, failed: 0 });
    await lab.answer('stop', fleet, '--force', '--timeout', '1s');
    expect((await start(9)).json.members[0].error.message).toMatch(/BPF prog/);
    // If libvirt does not say which domains are held by a call, each is read all the same.
    const unsaid = { match: '^domcontrol', do: 'hang' } as const;
    expect((await faulty(lab, unsaid, '3s', 'verify', fleet)).json).toMatchObject({ findings: [] });
    const world = await lab.world(fleet);
    const faults: Array<[Fault, RegExp]> = [
      [{ match: '^list', times: 99, do: 'cut' }, /an unreadable line|but does not list it/],
      [{ match: '^list', times: 99, do: 'garbage', text: '' }, /but does not list it/],
    ];
    for (const [fault, message] of faults) {
      // If such a list were trusted, disks of running members would be removed.
      const answer = await faulty(lab, fault, '60s', 'teardown', fleet, '--yes');
      expect(answer.exitCode, JSON.stringify({ fault, answer })).toBe(8);
      expect(answer.json.error.message).toMatch(message);
      expect(await lab.world(fleet)).toEqual(world);
    }
    const held = 'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainCreate)';
    const warned = { match: '^(list|domstats|metadata)', times: 99, do: 'warn', text: 'warning: odd\n' } as const;
    expect(
      (await faulty(lab, { match: '^undefine', times: 2, do: 'error', text: held }, '60s', 'teardown', fleet, '3', '--yes')).exitCode,
    ).toBe(0);
    expect((await faulty(lab, warned, '60s', 'teardown', fleet, '--yes')).exitCode).toBe(0);
    expect(await lab.world(fleet)).toEqual({ members: [], files: [], recorded: undefined });
  });
});
