import { join } from 'node:path';
import { linearRegression, linearRegressionLine, rSquared } from 'simple-statistics';
import { buildGolden } from '../scripts/golden.js';
import { at, type Bench, smallGuest, type Usage } from './bench.js';

/** The cost of each command as the fleet grows. It should be linear in the number of members. */

/** Maximum number of running members; otherwise a tenth of the members run. */
const running = 100;
/** Growth in CPU time below this is start-up and rounding. */
const leastSeconds = 0.5;
const figures = { cpu_s: 'CPU-s', wall_s: 's', peak_kib: 'KiB' } as const;

/**
 * The highest cost of one more member between two sizes, relative to the average over all sizes. Uses differences because totals
 * would hide it behind the fixed cost of a run.
 */
function growth(xs: readonly number[], ys: readonly number[]): number {
  const slope = (from: number, to: number): number => (at(ys, to) - at(ys, from)) / (at(xs, to) - at(xs, from));
  const steps = xs.slice(1).map((_, index) => slope(index, index + 1));
  return Math.max(...steps) / slope(0, -1);
}

/** The highest rise of the cost per member, including start-up, from one size to the next: at most 1 for a linear command. */
function risePerMember(xs: readonly number[], ys: readonly number[]): number {
  return Math.max(...xs.slice(1).map((x, index) => at(ys, index + 1) / x / (at(ys, index) / at(xs, index))));
}

export async function benchLinear({ cowherd, scratch, row, say, sizes: { linear: sizes } }: Bench) {
  const golden = join(scratch, 'golden-linear.qcow2');
  await buildGolden(golden, { filledMiB: 1 });
  const taken = new Map<string, Usage[]>();
  for (const size of sizes) {
    for (const [verb, words] of Object.entries(steps(golden, size))) {
      const used = await cowherd(...words);
      taken.set(verb, [...(taken.get(verb) ?? []), used]);
      say(`  ${size} members, ${verb}: ${used.wall_s} s, ${used.cpu_s} CPU-s, ${Math.round(used.peak_kib / 1024)} MiB`);
    }
  }
  const lines = [...taken].flatMap(([verb, items]) =>
    (['cpu_s', 'wall_s', 'peak_kib'] as const).map((key) => {
      const ys = items.map((item) => item[key]);
      const points = sizes.map((x, index) => [x, at(ys, index)]);
      const { m: slope, b: intercept } = linearRegression(points);
      const r2 = rSquared(points, linearRegressionLine({ m: slope, b: intercept }));
      const fit = { verb, unit: figures[key], slope, intercept, r2, growth: growth(sizes, ys), perMember: risePerMember(sizes, ys) };
      say(
        `  ${verb}, ${fit.unit}: ${intercept.toPrecision(3)} + ${(slope * 1000).toPrecision(3)} per 1,000 members, R² ${r2.toFixed(3)}, steepest step ${fit.growth.toFixed(2)} × the average, cost per member rises by ${fit.perMember.toFixed(2)} × at most`,
      );
      // Only CPU time has a limit: wall time includes waiting for QEMU and other work on the machine.
      if (key === 'cpu_s' && at(ys, -1) - at(ys, 0) > leastSeconds)
        row(`${verb}: CPU time of one more member, steepest against all`, fit.growth, '×', 1.5, 'less', { r2 });
      return fit;
    }),
  );
  const peak = Math.max(...[...taken.values()].flat().map((item) => item.peak_kib)) / 1024;
  const largest = at(sizes, -1);
  row(`peak memory at ${largest.toLocaleString('en')} members, ${runningOf(largest)} running`, peak, 'MiB', 150, 'less');
  return {
    taken: Object.fromEntries([...taken].map(([verb, items]) => [verb, items.map((used, i) => ({ size: sizes[i], ...used }))])),
    lines,
  };
}

function runningOf(size: number): number {
  return Math.min(running, Math.floor(size / 10));
}

/** The commands in the order in which they run. */
function steps(golden: string, size: number): Record<string, string[]> {
  const fleet = 'cwt-bench-l';
  return {
    spawn: ['spawn', fleet, '--base', golden, '--count', String(size), ...smallGuest, '--no-start'],
    start: ['start', fleet, `1-${runningOf(size)}`],
    status: ['status', fleet],
    report: ['report', fleet],
    'spawn again': ['spawn', fleet, '--no-start'],
    'reset of a tenth': ['reset', fleet, `${size - Math.floor(size / 10) + 1}-${size}`],
    'reset of all': ['reset', fleet, '--start', 'none'],
    teardown: ['teardown', fleet, '--yes', '--with-base'],
  };
}
