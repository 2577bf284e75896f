import { join } from 'node:path';
import { median } from 'simple-statistics';
import { buildGolden } from '../scripts/golden.js';
import { type Bench, smallGuest, type Usage } from './bench.js';

/** A large fleet that is defined but not running. */
export async function benchDefined({ cowherd, row, say, scratch, rounds, sizes: { defined: count } }: Bench) {
  const golden = join(scratch, 'golden-1000.qcow2');
  await buildGolden(golden, { filledMiB: 1 });
  const fleet = 'cwt-bench-k';
  const members = count.toLocaleString('en');
  say(`${members} members, defined but not running`);
  const spawn = await cowherd('spawn', fleet, '--base', golden, '--count', String(count), ...smallGuest, '--no-start');
  const status: Usage[] = [];
  const report: Usage[] = [];
  for (let turn = 0; turn < rounds; turn++) {
    status.push(await cowherd('status', fleet));
    report.push(await cowherd('report', fleet));
  }
  const reset = await cowherd('reset', fleet);
  const teardown = await cowherd('teardown', fleet, '--yes', '--with-base');
  const all = { spawn: [spawn], status, report, reset: [reset], teardown: [teardown] };
  row(`status of ${members} defined`, median(status.map((item) => item.wall_s)), 's', 2.5, 'less');
  row(`report of ${members} defined`, median(report.map((item) => item.wall_s)), 's', 2.5, 'less');
  const peak = Math.max(...Object.values(all).flatMap((items) => items.map((item) => item.peak_kib))) / 1024;
  row(`peak memory at ${members} members`, peak, 'MiB', 150, 'less', {
    spawn_s: spawn.wall_s,
    reset_s: reset.wall_s,
    teardown_s: teardown.wall_s,
  });
  return all;
}
