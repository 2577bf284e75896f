import { it } from 'vitest';

/** Whether this is `npm run test:long`: everything in full, including what takes long and rarely finds anything. */
export const isLong = process.env.COWHERD_TEST_LONG === '1';

/** A test that only `npm run test:long` runs. */
export const longIt: typeof it = isLong ? it : (Object.assign(() => undefined, { each: () => () => undefined }) as unknown as typeof it);
