import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** libvirt 11 answers reads of a hung domain after 30 s. */
const slow = { testTimeout: 900_000, hookTimeout: 300_000 };

/** Daily, test/support/long.ts leaves out a part of the other files. */
const tooLong = process.env.COWHERD_TEST_LONG === '1' ? [] : ['test/e2e/**/*.long.test.ts'];

/** Tests with guests that hang. Many commands in other tests would wait for these, so they run in parallel with tests without libvirt. */
const hanging = ['test/e2e/faults/hangs*.test.ts'];

/** Runs the longest file first, so that no worker is idle at the end. By default Vitest sorts by file size. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLongest = ({ moduleId }: TestSpecification): boolean => moduleId.endsWith('/crash-matrix.test.ts');
    const sorted = await super.sort(files);
    return [...sorted.filter(isLongest), ...sorted.filter((file) => !isLongest(file))];
  }
}

export default defineConfig({
  test: {
    projects: [
      // Not isolated: otherwise every file loads all modules again, which takes longer than the tests.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], isolate: false, testTimeout: 60_000 } },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: [...hanging, ...tooLong],
          // For tests within one file that may run concurrently.
          maxConcurrency: 2,
          globalSetup: ['test/support/global-setup.ts'],
          ...slow,
        },
      },
      {
        test: {
          name: 'e2e-hanging',
          include: hanging,
          exclude: tooLong,
          fileParallelism: false,
          maxConcurrency: 2,
          globalSetup: ['test/support/global-setup.ts'],
          ...slow,
        },
      },
      {
        test: {
          // Long versions of the fault and load tests: up to hours, never part of `npm test`.
          name: 'soak',
          include: ['test/soak/**/*.test.ts'],
          fileParallelism: false,
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 7_200_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'nightly',
          include: ['test/nightly/**/*.test.ts'],
          fileParallelism: false,
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 3_600_000,
          hookTimeout: 1_200_000,
        },
      },
    ],
    // On two cores, Vitest would run one file at a time by default.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    disableConsoleIntercept: true,
    // The end-to-end tests may run as root in another user's checkout, and must leave no files in it.
    cache: false,
  },
});
