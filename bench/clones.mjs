import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { accounted, line, round } from './account.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const golden = 'cwt-bench-cg';
const fleets = { clones: 'cwt-bench-cw', cold: 'cwt-bench-cc' };
/** The same for both: clones and boots differ in what they do, not in how many do it at once. */
const alike = ['--boot-concurrency', '8', '--concurrency', '16'];

/**
 * Instant clones of a running tiny Linux beside the same guests booted, turn by turn in one run. Clones are ready when they say that
 * they are themselves, which is more than the agent's first answer, that booted ones are waited for.
 * @param {{run: Function, cowherd: Function, scratch: string, rounds: number, row: Function, median: Function, say: Function, members: number}} bench
 */
export async function benchClones({ run, cowherd, scratch, rounds, row, median, say, members }) {
  const image = join(scratch, 'tiny-clones.qcow2');
  await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), image]);
  const guest = ['--base', golden, '--memory', '128MiB', '--seed', 'smbios', '--virt-type', 'qemu'];
  await run('base', 'add', image, '--name', golden);
  await run('spawn', golden, ...guest, '--count', '1', '--wait', 'agent', '--timeout', '10m');
  const count = ['--count', String(members), ...alike];
  const taken = { clones: [], reset: [], cold: [] };
  const note = (what, figures) => {
    taken[what].push(figures);
    say(`  ${what.padEnd(6)} ${line(figures)}`);
  };
  say(`${members} × tiny Linux, cloned and booted`);
  for (let turn = 0; turn < rounds; turn++) {
    // The golden VM's own work while it is frozen is in libvirt's and cowherd's time.
    const { clones, cold } = fleets;
    note('clones', await accounted(`${clones}-`, () => cowherd('spawn', clones, '--from-running', `${golden}-001`, ...count)));
    note('reset', await accounted(`${clones}-`, () => cowherd('reset', clones, ...alike)));
    await run('teardown', clones, '--yes', '--with-base');
    note('cold', await accounted(`${cold}-`, () => cowherd('spawn', cold, ...guest, ...count, '--wait', 'agent', '--timeout', '60m')));
    await run('teardown', cold, '--yes');
  }
  await run('teardown', golden, '--yes', '--with-base');
  const cpu = ({ guests, daemon, tool }) => (guests + daemon + tool) / members;
  const [clones, reset, cold] = ['clones', 'reset', 'cold'].map((what) => median(taken[what].map(cpu)));
  const wall = (what) => round(median(taken[what].map((one) => one.wall)));
  row(`CPU of a cold boot against an instant clone, ${members} × tiny Linux`, cold / clones, '×', 3, 'more', {
    cold_cpu_s: round(cold),
    clone_cpu_s: round(clones),
    cold_wall_s: wall('cold'),
    clone_wall_s: wall('clones'),
  });
  row(`CPU of a cold boot against a reset of clones, ${members} × tiny Linux`, cold / reset, '×', 3, 'more', {
    cold_cpu_s: round(cold),
    reset_cpu_s: round(reset),
    reset_wall_s: wall('reset'),
  });
  return taken;
}
