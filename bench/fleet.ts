import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { buildGolden } from '../scripts/golden.js';
import { at, type Bench, type Phases, round, smallGuest, type Usage } from './bench.js';
import { domainTemplate } from './template.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const fleet = 'cwt-bench';
const shells = ['xargs', 'loop'] as const;
type Shell = (typeof shells)[number];
type Taken = Record<'spawn' | 'reset' | 'status' | 'report' | 'teardown', Usage>;

/**
 * Compares a running fleet with direct calls of libvirt's API (the floor) and with shell scripts, in turn.
 * @param wantsShell the scripts take minutes and can be skipped
 */
export async function benchFleet(bench: Bench, wantsShell: (name: Shell) => boolean) {
  const { run, cowherd, measure, floor, say, scratch, rounds } = bench;
  const count = bench.sizes.fleet;
  const golden = join(scratch, 'golden.qcow2');
  await buildGolden(golden, { filledMiB: 48 });
  const base = await run<{ path: string }>('base', 'add', golden, '--name', fleet);
  const { xmlDir, hand } = await prepare(bench);
  const byHand = (phase: string, how: string): Promise<Usage> =>
    measure('bash', join(here, 'by-hand.sh'), phase, how, hand, base.path, String(count));

  const taken = { cowherd: [] as Taken[], floor: [] as Phases[], loop: [] as Phases[], xargs: [] as Phases[] };
  for (let turn = 1; turn <= rounds; turn++) {
    say(`round ${turn} of ${rounds}, ${count} members`);
    const own = {
      spawn: await cowherd('spawn', fleet, '--base', fleet, '--count', String(count), ...smallGuest),
      reset: await cowherd('reset', fleet),
      status: await cowherd('status', fleet),
      report: await cowherd('report', fleet),
      teardown: await cowherd('teardown', fleet, '--yes'),
    };
    taken.cowherd.push(own);
    say(`  cowherd ${walls(own)}`);
    const least = await floor(xmlDir, base.path, 'spawn', 'reset', 'teardown');
    taken.floor.push(least);
    say(`  floor   ${walls(least)}`);
    for (const how of shells) {
      // The figures are far from the limits, so one round is enough.
      if (!wantsShell(how) || turn > 1) continue;
      const other = { spawn: await byHand('spawn', how), reset: await byHand('reset', how), teardown: await byHand('teardown', how) };
      taken[how].push(other);
      say(`  ${how.padEnd(7)} ${walls(other)}`);
    }
  }
  addRows(bench, taken);
  return taken;
}

/** cowherd's own XML, once with the names and disks of the floor, and once as a template for the scripts. */
async function prepare({ run, scratch, sizes }: Bench): Promise<{ xmlDir: string; hand: string }> {
  const [xmlDir, floorDir, hand] = ['xml', 'floor', 'hand'].map((name) => join(scratch, name)) as [string, string, string];
  await mkdir(xmlDir);
  await mkdir(hand);
  await mkdir(join(floorDir, 'logs'), { recursive: true });
  const { xml } = await run<{ xml: string }>('template', 'render', 'cwt-floor', '1', '--base', fleet, ...smallGuest);
  for (let index = 1; index <= sizes.fleet; index++) await writeFile(join(xmlDir, `${index}.xml`), renumber(xml, index, floorDir));
  const plain = await run<{ xml: string }>('template', 'render', 'cwt-hand', '1', '--base', fleet, ...smallGuest, '--no-lean');
  await writeFile(join(hand, 'template.xml'), domainTemplate(plain.xml, { disk: 'OVERLAY', log: `${hand}/NAME.log` }));
  await execa('chmod', ['-R', 'o+rX', scratch]);
  return { xmlDir, hand };
}

function addRows({ row, sizes: { fleet: count } }: Bench, taken: Record<Shell | 'floor', Phases[]> & { cowherd: Taken[] }): void {
  const wall = (item: Phases, phase: string): number => item[phase]?.wall_s ?? Number.NaN;
  const ratio = (other: Phases[], phase: string): number =>
    median(taken.cowherd.map((item, turn) => wall(item, phase) / wall(other[turn] ?? at(other, 0), phase)));
  const seconds = (list: Phases[], phase: string): number => round(median(list.map((item) => wall(item, phase))), 1);
  for (const phase of ['spawn', 'reset']) {
    const pair = (other: Phases[]) => ({ cowherd_s: seconds(taken.cowherd, phase), other_s: seconds(other, phase) });
    const { floor, loop, xargs } = taken;
    row(`${phase} ${count} against the floor`, ratio(floor, phase), '×', 1.1, 'less', pair(floor));
    if (loop.length > 0) row(`shell loop against cowherd, ${phase} ${count}`, 1 / ratio(loop, phase), '×', 3, 'more', pair(loop));
    if (xargs.length > 0) row(`xargs -P8 against cowherd, ${phase} ${count}`, 1 / ratio(xargs, phase), '×', 1.6, 'more', pair(xargs));
  }
  row(`own CPU for spawn ${count}`, median(taken.cowherd.map((item) => item.spawn.cpu_s)), 'CPU-s', 5, 'less');
  row(`status of ${count} running`, median(taken.cowherd.map((item) => item.status.wall_s)), 's', 1, 'less');
  row(`report of ${count} running`, median(taken.cowherd.map((item) => item.report.wall_s)), 's', 1, 'less');
}

const walls = (phases: Phases): string =>
  Object.entries(phases)
    .map(([name, { wall_s }]) => `${name} ${wall_s} s`)
    .join(', ');

/** The first member's XML, adapted for another member. */
function renumber(xml: string, index: number, directory: string): string {
  const name = `cwt-floor-${String(index).padStart(3, '0')}`;
  return xml
    .replace(/<name>[^<]+/, `<name>${name}`)
    .replace(/<uuid>[^<]+/, `<uuid>c0ffee00-0000-4000-8000-${String(index).padStart(12, '0')}`)
    .replace(/<source file="[^"]+overlays[^"]+"/, `<source file="${directory}/${name}.qcow2"`)
    .replace(/<log file="[^"]+"/, `<log file="${directory}/logs/${name}.log"`);
}
