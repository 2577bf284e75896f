import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';
import type { Placement } from '../../../core/spec/spec.js';

/** What a user may say about where servers run. */
export const placementInput = z.strictObject({
  flavor: z.string(),
  key: z.string(),
  az: z.string(),
  securityGroups: z.union([z.string().transform((one) => [one]), z.array(z.string())]),
});
export type PlacementInput = Partial<z.output<typeof placementInput>>;

/** @throws BAD_SPEC */
export function parsePlacement(placement: Placement | undefined): PlacementInput {
  const known = Object.keys(placementInput.shape);
  for (const [name, value] of Object.entries(placement ?? {})) {
    if (!known.includes(name)) {
      throw new CowherdError('BAD_SPEC', `placement has no setting ${name} on OpenStack`, { hint: `Use ${known.join(', ')}.` });
    }
    if (name !== 'securityGroups' && typeof value !== 'string') {
      throw new CowherdError('BAD_SPEC', `placement.${name} has several values`, { hint: 'Give one.' });
    }
  }
  return placementInput.partial().parse(placement ?? {});
}
