import { describe, expect, it } from 'vitest';
import { type DomainState, judgeMember } from '../../../../src/core/fleet/observation.js';
import type { MarkedMember } from '../../../../src/core/fleet/plan/member-plan.js';
import { planPower } from '../../../../src/core/fleet/plan/plan.js';
import { planSpawn } from '../../../../src/core/fleet/plan/plan-spawn.js';

const fleetId = 'f';

function member(state: DomainState['state'], reason: string): MarkedMember {
  const [name, uuid] = ['lab-001', 'u'];
  const mark = { fleet: 'lab', fleetId, index: 1, baseName: 'g', baseDigest: '', definition: '', spec: '' };
  return { index: 1, name, uuid, macs: [], domain: { name, uuid, state, reason }, overlayBytes: 1, mark };
}

describe('a guest that does not run', () => {
  it.each([
    ['paused', 'I/O error', /free some space/, ['resume']],
    ['paused', 'starting up', /check again/, ['start']],
    ['paused', 'by the user', /a user paused/, ['resume']],
    ['paused', 'watchdog', /watchdog/, ['resume']],
    // A brief state of libvirt.
    ['paused', 'saving', undefined, []],
    ['shutOff', 'crashed', /QEMU ended unexpectedly/, ['start']],
    ['shutOff', 'failed', /could not start/, ['start']],
    ['shutOff', 'shut down', undefined, ['start']],
    ['running', 'booted', undefined, []],
  ] as const)('%s (%s) is told with what helps, and started as it must be', (state, reason, hint, steps) => {
    const one = member(state, reason);
    const judged = judgeMember(one, 0);
    expect(judged).toMatchObject({ state, reason, problems: [] });
    if (hint === undefined) expect(judged.hint).toBeUndefined();
    else expect(judged.hint).toMatch(hint);
    expect(planPower([one], fleetId, 'start').members.flatMap((planned) => planned.steps)).toEqual(steps);
  });

  it('and that libvirt is starting does not count as running for a spawn either', () => {
    const subjects = ['starting up', 'booted'].map((reason, at) => ({
      ...member(at === 0 ? 'paused' : 'running', reason),
      definition: '',
    }));
    expect(planSpawn(subjects, fleetId)).toMatchObject({ members: [{ steps: ['start'], why: 'starting up' }], unchanged: ['lab-001'] });
  });

  it('and has crashed is kept until a user stops it', () => {
    const plan = planPower([member('paused', 'guest crashed')], fleetId, 'start');
    expect(plan.members).toEqual([]);
    expect(plan.refused[0]?.hint).toContain('stop --force');
    expect(planPower([member('paused', 'guest crashed')], fleetId, 'stop').members).toHaveLength(1);
  });
});
