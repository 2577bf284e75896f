import { z } from 'zod';
import { fleetFileSchema } from './spec.js';

/** The JSON schema of a fleet file, for editors. */
export function fleetFileJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(fleetFileSchema, { io: 'input' }) as Record<string, unknown>;
}
