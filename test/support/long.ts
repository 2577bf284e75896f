import { it } from 'vitest';

/** Whether this is `npm run test:long`: everything in full, including what takes long and rarely finds anything. */
export const isLong = process.env.COWHERD_TEST_LONG === '1';

/** A test that only `npm run test:long` runs. Files named *.long.test.ts contain no others. */
export const longIt: typeof it = isLong ? it : (Object.assign(() => undefined, { each: () => () => undefined }) as unknown as typeof it);

/** Cases that only `npm run test:long` tries. */
export const inLong = <T>(cases: readonly T[]): readonly T[] => (isLong ? cases : []);

/** How often to repeat a property test that `npm run test:long` repeats so many times. */
export const runsOf = (count: number): number => (isLong ? count : Math.ceil(count / 4));
