import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** libvirt 11 answers reads of a hung domain after 30 s: while some tests hang domains, snapshot verbs in others, which read all domains, wait. */
const slow = { testTimeout: 900_000, hookTimeout: 300_000 };

/** Tests with a hundred guests, or many Linux guests. */
const crowded = ['guests', 'hundred'].map((name) => `test/e2e/**/${name}.test.ts`);

/** Tests that mostly wait, for guests and for calls that hang: they run in parallel with the others. */
const waiting = ['hangs', 'hangs-inside', 'stray-checkpoints', 'flaky-libvirt'].map((name) => `test/e2e/**/${name}.test.ts`);

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
          exclude: [...crowded, ...waiting],
          // For tests within one file that may run concurrently.
          maxConcurrency: 2,
          globalSetup: ['test/support/global-setup.ts'],
          ...slow,
        },
      },
      {
        test: {
          name: 'e2e-waiting',
          include: waiting,
          fileParallelism: false,
          maxConcurrency: 2,
          globalSetup: ['test/support/global-setup.ts'],
          ...slow,
        },
      },
      {
        test: {
          name: 'e2e-crowded',
          include: crowded,
          // With two cores and one libvirtd, these run one at a time, so that timeouts are meaningful.
          fileParallelism: false,
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
    sequence: { sequencer: LongestFirst },
    disableConsoleIntercept: true,
    // The end-to-end tests may run as root in another user's checkout, and must leave no files in it.
    cache: false,
  },
});
