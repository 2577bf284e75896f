import { describe, expect, it } from 'vitest';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import { judgeMember } from '../../../../src/core/fleet/observation.js';

describe('a member', () => {
  const one = memberIdentity('lab', '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33', 1);
  const domain = { name: one.name, uuid: one.uuid, state: 'shutOff', reason: 'shut down' } as const;

  it.each([
    ['without a domain', { domain: undefined, overlayBytes: 0 }],
    ['without its overlay', { domain, overlayBytes: undefined }],
    ['without a further disk', { domain, overlayBytes: 0, missingDisks: ['lab-001.data'] }],
    ['of which nothing exists', { domain: undefined, overlayBytes: undefined }],
  ])('%s is incomplete', (_, observed) => {
    expect(judgeMember({ ...one, ...observed }, 0).isIncomplete).toBe(true);
  });

  it('is complete regardless of names in its problems', () => {
    const renamed = { ...domain, name: 'missing-001' };
    const judged = judgeMember({ ...one, domain: renamed, overlayBytes: 0 }, 0, 'base image missing@abc was changed');
    expect(judged.problems.join()).toContain('missing');
    expect(judged).toMatchObject({ state: 'broken', isIncomplete: false });
  });
});
