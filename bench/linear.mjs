import { join } from 'node:path';
import { buildGolden } from '../scripts/golden.mjs';

/** What each verb costs at growing sizes: a straight line, or something in it is not linear in the members. */
const sizes = [125, 250, 500, 1000];
/** At the most, and in a tenth of the members: 100 of 1,000. */
const running = 100;
const guest = ['--memory', '16MiB', '--network', 'none', '--virt-type', 'qemu'];
/** A figure that grows by less CPU time than this is made of start-up and rounding. */
const leastSeconds = 0.5;

/** @returns the line through (sizes, figures) by least squares, and how well it fits */
export function straightLine(xs, ys) {
  const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const [x, y] = [mean(xs), mean(ys)];
  const under = xs.reduce((sum, at) => sum + (at - x) ** 2, 0);
  const slope = xs.reduce((sum, at, index) => sum + (at - x) * (ys[index] - y), 0) / under;
  const intercept = y - slope * x;
  const left = ys.reduce((sum, figure, index) => sum + (figure - intercept - slope * xs[index]) ** 2, 0);
  const total = ys.reduce((sum, figure) => sum + (figure - y) ** 2, 0);
  return { slope, intercept, r2: total === 0 ? 1 : 1 - left / total };
}

/**
 * The most that one more member costs between two sizes, against what one cost between the two before.
 * Steps rather than sums: what a run costs before it does anything would hide in a sum.
 */
export function growth(xs, ys) {
  const steps = xs.slice(1).map((at, index) => (ys[index + 1] - ys[index]) / (at - xs[index]));
  const whole = (ys.at(-1) - ys[0]) / (xs.at(-1) - xs[0]);
  return Math.max(...steps.map((step) => step / whole));
}

/** The most that cost per member, start-up and all, rises from one size to the next: at most 1 where a verb is linear. */
export function risePerMember(xs, ys) {
  return Math.max(...xs.slice(1).map((at, index) => ys[index + 1] / at / (ys[index] / xs[index])));
}

export async function benchLinear({ cowherd, scratch, row, say }) {
  const golden = join(scratch, 'golden-linear.qcow2');
  await buildGolden(golden, { filledMiB: 1 });
  const fleet = 'cwt-bench-l';
  const taken = {};
  for (const size of sizes) {
    const on = Math.min(running, Math.floor(size / 10));
    const steps = {
      spawn: ['spawn', fleet, '--base', golden, '--count', String(size), ...guest, '--no-start'],
      start: ['start', fleet, `1-${on}`],
      status: ['status', fleet],
      report: ['report', fleet],
      'spawn again': ['spawn', fleet, '--no-start'],
      'reset of a tenth': ['reset', fleet, `${size - Math.floor(size / 10) + 1}-${size}`],
      'reset of all': ['reset', fleet, '--start', 'none'],
      teardown: ['teardown', fleet, '--yes', '--with-base'],
    };
    for (const [verb, words] of Object.entries(steps)) {
      const used = await cowherd(...words);
      taken[verb] ??= [];
      taken[verb].push({ size, ...used });
      say(`  ${size} members, ${verb}: ${used.wall_s} s, ${used.cpu_s} CPU-s, ${Math.round(used.peak_kib / 1024)} MiB`);
    }
  }
  const lines = [];
  for (const [verb, items] of Object.entries(taken)) {
    for (const [key, unit] of [
      ['cpu_s', 'CPU-s'],
      ['wall_s', 's'],
      ['peak_kib', 'KiB'],
    ]) {
      const figures = items.map((item) => item[key]);
      const { slope, intercept, r2 } = straightLine(sizes, figures);
      const ratio = growth(sizes, figures);
      const perMember = risePerMember(sizes, figures);
      lines.push({ verb, unit, slope, intercept, r2, growth: ratio, perMember });
      say(
        `  ${verb}, ${unit}: ${intercept.toPrecision(3)} + ${(slope * 1000).toPrecision(3)} per 1,000 members, R² ${r2.toFixed(3)}, steepest step ${ratio.toFixed(2)} × the whole, cost per member rises by ${perMember.toFixed(2)} × at most`,
      );
      // A verb that started guests waits for QEMU, and others' work is in the wall time: CPU time is what is judged.
      if (key === 'cpu_s' && figures.at(-1) - figures[0] > leastSeconds)
        row(`${verb}: CPU time of one more member, steepest against all`, ratio, '×', 1.5, 'less', { r2 });
    }
  }
  row(
    'peak memory at 1,000 members, 100 running',
    Math.max(
      ...Object.values(taken)
        .flat()
        .map((item) => item.peak_kib),
    ) / 1024,
    'MiB',
    150,
    'less',
  );
  return { taken, lines };
}
