import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import type { DomainState, MemberMark } from '../../../../src/core/fleet/observation.js';
import type { Plan } from '../../../../src/core/fleet/plan/member-plan.js';
import { planPower, planRebase, planReset, planTeardown } from '../../../../src/core/fleet/plan/plan.js';
import { planSpawn, type SpawnSubject } from '../../../../src/core/fleet/plan/plan-spawn.js';
import { runsOf } from '../../../support/long.js';

const fleetId = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const otherId = '11111111-3a0f-4c5e-9f5e-0d6f0c1b2a33';

/** Any state of a member: created, partly created, changed, paused, with a foreign domain. */
const subject = (index: number): fc.Arbitrary<SpawnSubject> => {
  const identity = memberIdentity('lab', fleetId, index);
  const mark = (id: string, definition: string): MemberMark => ({
    fleet: 'lab',
    fleetId: id,
    index,
    baseName: 'g',
    baseDigest: 'd',
    definition,
    spec: '{}',
  });
  return fc
    .record({
      domain: fc.option(
        fc.record({
          name: fc.constant(identity.name),
          uuid: fc.constantFrom(identity.uuid, identity.uuid, 'somebody-elses'),
          state: fc.constantFrom<DomainState['state']>('running', 'paused', 'shutOff'),
          reason: fc.constant(''),
        }),
        { nil: undefined },
      ),
      overlayBytes: fc.option(fc.nat(), { nil: undefined }),
      missingDisks: fc.constantFrom([], [], [`${identity.name}.data`]),
      seedLack: fc.constantFrom(undefined, undefined, 'no seed'),
      mark: fc.constantFrom(undefined, mark(fleetId, 'new'), mark(fleetId, 'old'), mark(otherId, 'new')),
    })
    .map((found) => ({ ...identity, ...found, mark: found.domain === undefined ? undefined : found.mark, definition: 'new' }));
};
const world = fc
  .integer({ min: 1, max: 8 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, position) => subject(position + 1))));

/** Independent of the code under test. */
const isForeign = ({ domain, mark, uuid }: SpawnSubject): boolean =>
  domain !== undefined && !(domain.uuid === uuid && mark?.fleetId === fleetId);

/** Simulates the steps for a member. */
function apply(subjects: readonly SpawnSubject[], plan: Plan): SpawnSubject[] {
  return subjects.map((before) => {
    let member = before;
    for (const step of plan.members.find((item) => item.name === before.name)?.steps ?? []) {
      const domain = member.domain;
      if (step === 'overlay') {
        expect(domain === undefined || domain.state === 'shutOff', 'no overlay is replaced under a domain that is on').toBe(true);
        member = { ...member, overlayBytes: 0, missingDisks: [] };
      }
      if (step === 'seed') member = { ...member, seedLack: undefined };
      if (step === 'define') {
        member = {
          ...member,
          domain: domain ?? { name: member.name, uuid: member.uuid, state: 'shutOff', reason: '' },
          mark: { fleet: 'lab', fleetId, index: member.index, baseName: 'g', baseDigest: 'd', definition: 'new', spec: '{}' },
        };
      }
      if (step === 'start') {
        expect(member.domain, 'a domain is defined before it is started').toBeDefined();
        expect(member.overlayBytes, 'an overlay is there before its domain is started').toBeDefined();
        expect(member.seedLack, 'a seed is there before its guest reads it').toBeUndefined();
      }
      if (member.domain !== undefined && step === 'start') member = { ...member, domain: { ...member.domain, state: 'running' } };
      if (member.domain !== undefined && step === 'stop') member = { ...member, domain: { ...member.domain, state: 'shutOff' } };
      if (step === 'undefine') {
        expect(member.domain?.state, 'a domain is off before it is undefined').toBe('shutOff');
        member = { ...member, domain: undefined, mark: undefined };
      }
      if (step === 'unlink') member = { ...member, overlayBytes: undefined };
    }
    return member;
  });
}

const touched = (plan: Plan, name: string): boolean => plan.members.some((member) => member.name === name && member.steps.length > 0);

describe('the plan of spawn', () => {
  it('reaches the spec from any state, and is empty afterwards', () => {
    fc.assert(
      fc.property(world, (subjects) => {
        const plan = planSpawn(subjects, fleetId);
        const after = apply(subjects, plan);
        const refused = new Set(plan.refused.map((item) => item.name));
        for (const member of after.filter((item) => !refused.has(item.name))) {
          expect(member.domain?.state === 'running' || member.domain?.state === 'paused').toBe(true);
          expect(member.overlayBytes).toBeDefined();
          expect(member.missingDisks).toEqual([]);
          expect(member.mark?.definition).toBe('new');
          expect(member.seedLack).toBeUndefined();
        }
        const again = planSpawn(after, fleetId);
        expect(again.members).toEqual([]);
        expect(again.refused).toEqual(plan.refused);
      }),
      { numRuns: runsOf(500) },
    );
  });

  it('contains every member exactly once', () => {
    fc.assert(
      fc.property(world, (subjects) => {
        const plan = planSpawn(subjects, fleetId);
        const names = [...plan.members.map((member) => member.name), ...plan.unchanged, ...plan.refused.map((item) => item.name)];
        expect(names.sort()).toEqual(subjects.map((member) => member.name).sort());
      }),
    );
  });

  it('never replaces an existing overlay', () => {
    fc.assert(
      fc.property(world, (subjects) => {
        for (const { name, steps } of planSpawn(subjects, fleetId).members) {
          const member = subjects.find((one) => one.name === name);
          if (member?.overlayBytes !== undefined && member.missingDisks?.length === 0) expect(steps).not.toContain('overlay');
        }
      }),
    );
  });
});

describe('every plan', () => {
  it('leaves foreign domains alone', () => {
    fc.assert(
      fc.property(world, fc.constantFrom('all' as const, 'none' as const, 'same' as const), (subjects, start) => {
        const foreign = subjects.filter((member) => isForeign(member));
        for (const { name } of foreign) {
          expect(touched(planSpawn(subjects, fleetId), name)).toBe(false);
          expect(touched(planReset(subjects, fleetId, { start, wasOn: new Set([name]), withSeeds: true }), name)).toBe(false);
          for (const keepDrift of [true, false]) {
            const policy = { start, wasOn: new Set([name]), withSeeds: true, redefines: true, keepDrift };
            expect(touched(planRebase(subjects, fleetId, policy), name)).toBe(false);
            expect(touched(planReset(subjects, fleetId, policy), name)).toBe(false);
          }
          expect(touched(planPower(subjects, fleetId, 'start'), name)).toBe(false);
          expect(touched(planPower(subjects, fleetId, 'stop'), name)).toBe(false);
          // A foreign domain of that name stays while the member's files go; if it may have the overlay open, nothing is removed.
          const { members, refused } = planTeardown(subjects, fleetId);
          const own = subjects.find((member) => member.name === name);
          if (own?.domain?.uuid === own?.uuid) expect(refused.map((item) => item.name)).toContain(name);
          else expect(members.find((member) => member.name === name)?.steps).toEqual(['unlink']);
        }
      }),
    );
  });

  it('of reset gives each member a fresh overlay, and keeps running members running', () => {
    fc.assert(
      fc.property(world, (subjects) => {
        const wasOn = new Set(
          subjects.filter((member) => member.domain !== undefined && member.domain.state !== 'shutOff').map((member) => member.name),
        );
        const plan = planReset(subjects, fleetId, { start: 'same', wasOn, withSeeds: true });
        const after = apply(subjects, plan);
        const refused = new Set(plan.refused.map((item) => item.name));
        for (const member of after.filter((item) => !refused.has(item.name))) {
          expect(member.overlayBytes).toBe(0);
          expect(member.domain?.state).toBe(wasOn.has(member.name) ? 'running' : 'shutOff');
        }
      }),
    );
  });

  it('of teardown removes everything of the fleet', () => {
    fc.assert(
      fc.property(world, (subjects) => {
        const after = apply(subjects, planTeardown(subjects, fleetId));
        const refused = new Set(planTeardown(subjects, fleetId).refused.map((item) => item.name));
        expect(after.every((member) => member.overlayBytes === undefined || refused.has(member.name))).toBe(true);
        expect(after.filter((member) => member.domain !== undefined).every((member) => isForeign(member))).toBe(true);
      }),
    );
  });
});

describe('the plan of a rebase', () => {
  const policies = fc.record({
    withSeeds: fc.constant(true),
    redefines: fc.boolean(),
    keepDrift: fc.constant(false),
    start: fc.constant('same' as const),
  });

  it('gives members fresh disks and domains with the new backing chain, and keeps running members running', () => {
    fc.assert(
      fc.property(world, policies, (subjects, policy) => {
        const wasOn = new Set(subjects.filter((member) => member.domain?.state === 'running').map((member) => member.name));
        const plan = planRebase(subjects, fleetId, { ...policy, wasOn });
        const planned = new Set(plan.members.map((member) => member.name));
        for (const member of apply(subjects, plan).filter(({ name }) => planned.has(name))) {
          expect(member.overlayBytes).toBe(0);
          expect(member.mark?.definition).toBe('new');
          expect(member.domain?.state === 'running').toBe(wasOn.has(member.name));
        }
        expect([...planned, ...plan.refused.map(({ name }) => name)].sort()).toEqual(subjects.map(({ name }) => name).sort());
      }),
    );
  });

  it('never rebases an overlay that is open', () => {
    fc.assert(
      fc.property(world, (subjects) => {
        const policy = { start: 'same' as const, wasOn: new Set<string>(), withSeeds: true, keepDrift: true };
        for (const { name, steps } of planRebase(subjects, fleetId, policy).members) {
          const member = subjects.find((one) => one.name === name);
          expect(member?.domain?.state).toBe('shutOff');
          expect(member?.overlayBytes).toBeDefined();
          expect(steps).toEqual(['rebase', 'define']);
        }
      }),
    );
  });
});
