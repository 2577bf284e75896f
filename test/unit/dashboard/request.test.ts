import { describe, expect, it } from 'vitest';
import type { Request } from '../../../src/dashboard/protocol.js';
import { commandOf } from '../../../src/dashboard/server/actions/perform.js';
import { parseRequest } from '../../../src/dashboard/server/actions/request.js';

describe('a request', () => {
  it('is read', () => {
    expect(parseRequest({ verb: 'reset', fleet: 'lab', members: [3, 1, 3], warm: true })).toEqual({
      verb: 'reset',
      fleet: 'lab',
      members: [1, 3],
      warm: true,
    });
  });

  it.each([
    null,
    [],
    'reset',
    { verb: 'reset', fleet: 'lab' },
    { verb: 'reset', fleet: 'lab', members: [] },
    { verb: 'reset', fleet: 'lab', members: ['1'] },
    { verb: 'reset', fleet: 'lab', members: [0] },
    { verb: 'reset', fleet: 'lab', members: [1.5] },
    { verb: 'reset', fleet: '../lab', members: [1] },
    { verb: 'reset', fleet: '--force', members: [1] },
    { verb: 'spawn', fleet: 'lab', members: [1] },
    { verb: 'stop', fleet: 'lab', members: [1], warm: true },
    { verb: 'reset', fleet: 'lab', members: [1], force: true },
    { verb: 'reset', fleet: 'lab', members: [1], hook: 'rm -rf /' },
    { verb: 'reset', fleet: 'lab', members: Array.from({ length: 10_001 }, (_, index) => index + 1) },
  ])('is refused: %j', (document) => {
    expect(() => parseRequest(document)).toThrow(/^The request is invalid: \S/);
  });

  it.each<[Omit<Request, 'members'>, string[], string]>([
    [{ verb: 'reset', fleet: 'lab', warm: true }, ['1-3'], 'cowherd reset lab 1-3 --warm'],
    [{ verb: 'stop', fleet: 'lab', force: true }, ['2'], 'cowherd stop lab 2 --force'],
    [{ verb: 'teardown', fleet: 'lab' }, [], 'cowherd teardown lab'],
  ])('has a command: %j', (request, members, command) => {
    expect(commandOf({ ...request, members: [] }, members)).toBe(command);
  });
});
