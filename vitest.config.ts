import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const slow = { testTimeout: 300_000, hookTimeout: 300_000 };

/** Tests with a hundred guests, or with many Linux ones. */
const crowded = ['guests', 'hundred'].map((name) => `test/e2e/**/${name}.test.ts`);

/** Tests that wait most of the time, for guests and calls that hang: they run beside the others. */
const waiting = ['hangs', 'hangs-inside', 'stray-checkpoints', 'flaky-libvirt'].map((name) => `test/e2e/**/${name}.test.ts`);

/** The longest file first: at the end one worker would be idle while the other runs it. Vitest goes by the size of files. */
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
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: [...crowded, ...waiting],
          // Of tests in one file that say that they may run at the same time.
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
          // Two cores and one libvirtd: these take turns, so that time-outs mean something.
          fileParallelism: false,
          globalSetup: ['test/support/global-setup.ts'],
          ...slow,
        },
      },
      {
        test: {
          // The long form of the tests of faults and load: hours where asked for, never part of `npm test`.
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
    // The end-to-end tests may run as root in a checkout of somebody else's: they leave no file of theirs in it.
    cache: false,
  },
});
