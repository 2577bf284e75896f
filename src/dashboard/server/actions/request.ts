import { z } from 'zod';
import { limits } from '../../../core/limits.js';
import { namePattern } from '../../../core/names.js';
import type { Request } from '../../protocol.js';
import { Refused } from '../refusal.js';

const memberNumber = z.number().int().min(limits.members.min).max(999_999);

const requestSchema = z
  .strictObject({
    verb: z.enum(['start', 'stop', 'reset', 'checkpoint', 'teardown']),
    fleet: z.string().regex(namePattern),
    members: z.array(memberNumber).min(1).max(limits.members.max),
    warm: z.boolean().optional(),
    force: z.boolean().optional(),
  })
  .refine(({ verb, warm }) => warm !== true || verb === 'reset', 'warm is for reset only')
  .refine(({ verb, force }) => force !== true || verb === 'stop', 'force is for stop only');

/** @throws Refused */
export function parseRequest(document: unknown): Request {
  const parsed = requestSchema.safeParse(document);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0] ?? { path: [], message: 'it is invalid' };
    throw new Refused(400, 'BAD_USAGE', `The request is invalid: ${path.join('.')} ${message}`.replace(':  ', ': '));
  }
  const { verb, fleet, members, warm, force } = parsed.data;
  return {
    verb,
    fleet,
    members: [...new Set(members)].sort((a, b) => a - b),
    ...(warm === undefined ? {} : { warm }),
    ...(force === undefined ? {} : { force }),
  };
}
