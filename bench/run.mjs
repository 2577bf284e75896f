// `npm run bench [-- --count N --rounds N --only NAME]`: cowherd beside the floor and beside what people write by hand, pair by
// pair in one run. Prints a table of ratios and writes bench/results/latest.json.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { openHost } from '../dist/index.js';
import { buildGolden } from '../scripts/golden.mjs';
import { benchClones } from './clones.mjs';
import { benchGuests } from './guests.mjs';
import { benchLinear } from './linear.mjs';
import { benchOverlays } from './overlays.mjs';
import { benchWarm } from './warm.mjs';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', multiple: true },
    // An image built by examples/debian-12: only then are its guests measured too.
    debian: { type: 'string' },
    // How many guests are reset warm.
    warm: { type: 'string', default: '20' },
    // How many guests are cloned: of tiny Linux, and of Debian where its image is given.
    clones: { type: 'string', default: '8' },
    'debian-clones': { type: 'string', default: '5' },
  },
});
const count = Number(values.count);
const rounds = Number(values.rounds);
const wants = (name) => values.only === undefined || values.only.includes(name);

const here = fileURLToPath(new URL('.', import.meta.url));
const bin = join(here, '..', 'bin', 'run.js');
const python = '/usr/bin/python3';
const fleet = 'cwt-bench';
const guest = ['--memory', '16MiB', '--network', 'none', '--virt-type', 'qemu'];
const settle = '2';

const host = await openHost();
// Beside the usual store: under a directory that QEMU's user may pass through.
const store = `${host.fleets.root}-cwt-bench`;
const uri = host.hypervisor.uri;
await host.close();
const scratch = await mkdtemp(join(tmpdir(), 'cwt-bench-'));
const env = { COWHERD_STORE: store, LIBVIRT_DEFAULT_URI: uri };

const say = (text) => console.error(text);
const run = async (...args) => JSON.parse((await execa(bin, [...args, '--json'], { env })).stdout);
const measure = async (...command) => {
  const { stdout, stderr } = await execa(python, [join(here, 'measure.py'), '--settle', settle, ...command], { env });
  const result = JSON.parse(stdout);
  if (result.exit !== 0) throw new Error(`${command.join(' ')} exited ${result.exit}\n${stderr}`);
  return result;
};
const cowherd = (...args) => measure(bin, ...args);
const floor = async (xmlDir, base, ...phases) =>
  JSON.parse((await execa(python, [join(here, 'floor.py'), '--connect', uri, xmlDir, base, ...phases])).stdout);
const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const round = (number, digits = 2) => Number(number.toFixed(digits));

const rows = [];
/** @param better 'less' where the figure must stay under the limit, 'more' where it must reach it */
function row(name, figure, unit, limit, better, details) {
  const met = better === 'less' ? figure <= limit : figure >= limit;
  rows.push({ name, figure: round(figure), unit, limit, better, met, ...details });
  say(`  ${met ? 'ok  ' : 'MISS'} ${name}: ${round(figure)} ${unit} (${better === 'less' ? 'at most' : 'at least'} ${limit})`);
}

async function fleetPairs() {
  const golden = join(scratch, 'golden.qcow2');
  await buildGolden(golden, { filledMiB: 48 });
  const base = await run('base', 'add', golden, '--name', 'cwt-bench');
  // cowherd's own XML for the floor: rendered, with names and overlays of the floor's own.
  const xmlDir = join(scratch, 'xml');
  await mkdir(xmlDir);
  const { xml } = await run('template', 'render', 'cwt-floor', '1', '--base', 'cwt-bench', ...guest);
  for (let index = 1; index <= count; index++) {
    await writeFile(join(xmlDir, `${index}.xml`), renumber(xml, index, join(scratch, 'floor')));
  }
  await mkdir(join(scratch, 'floor', 'logs'), { recursive: true });
  const hand = join(scratch, 'hand');
  await mkdir(hand);
  const plain = await run('template', 'render', 'cwt-hand', '1', '--base', 'cwt-bench', ...guest, '--no-lean');
  await writeFile(join(hand, 'template.xml'), asHandTemplate(plain.xml, hand));
  await execa('chmod', ['-R', 'o+rX', scratch]);
  const byHand = (phase, how) => measure('bash', join(here, 'by-hand.sh'), phase, how, hand, base.path, String(count));

  const taken = { cowherd: [], floor: [], loop: [], xargs: [] };
  for (let turn = 1; turn <= rounds; turn++) {
    say(`round ${turn} of ${rounds}, ${count} members`);
    taken.cowherd.push({
      spawn: await cowherd('spawn', fleet, '--base', 'cwt-bench', '--count', String(count), ...guest),
      reset: await cowherd('reset', fleet),
      status: await cowherd('status', fleet),
      report: await cowherd('report', fleet),
      teardown: await cowherd('teardown', fleet, '--yes'),
    });
    say(`  cowherd ${walls(taken.cowherd.at(-1))}`);
    taken.floor.push(await floor(xmlDir, base.path, 'spawn', 'reset', 'teardown'));
    say(`  floor   ${walls(taken.floor.at(-1))}`);
    for (const how of ['xargs', 'loop']) {
      if (!wants(how) || turn > 1) continue; // they take minutes, and are far from their limits: once is enough
      taken[how].push({ spawn: await byHand('spawn', how), reset: await byHand('reset', how), teardown: await byHand('teardown', how) });
      say(`  ${how.padEnd(7)} ${walls(taken[how].at(-1))}`);
    }
  }
  const ratio = (a, b, phase) => median(a.map((item, turn) => item[phase].wall_s / (b[turn] ?? b[0])[phase].wall_s));
  const seconds = (list, phase) => round(median(list.map((item) => item[phase].wall_s)), 1);
  for (const phase of ['spawn', 'reset']) {
    const pair = (other) => ({ cowherd_s: seconds(taken.cowherd, phase), other_s: seconds(taken[other], phase) });
    row(`${phase} ${count} against the floor`, ratio(taken.cowherd, taken.floor, phase), '×', 1.1, 'less', pair('floor'));
    if (taken.loop.length > 0)
      row(`shell loop against cowherd, ${phase} ${count}`, 1 / ratio(taken.cowherd, taken.loop, phase), '×', 3, 'more', pair('loop'));
    if (taken.xargs.length > 0)
      row(`xargs -P8 against cowherd, ${phase} ${count}`, 1 / ratio(taken.cowherd, taken.xargs, phase), '×', 1.6, 'more', pair('xargs'));
  }
  row(`own CPU for spawn ${count}`, median(taken.cowherd.map((item) => item.spawn.cpu_s)), 'CPU-s', 5, 'less');
  row(`status of ${count} running`, median(taken.cowherd.map((item) => item.status.wall_s)), 's', 1, 'less');
  row(`report of ${count} running`, median(taken.cowherd.map((item) => item.report.wall_s)), 's', 1, 'less');
  return taken;
}

const walls = (phases) =>
  Object.entries(phases)
    .map(([name, { wall_s }]) => `${name} ${wall_s} s`)
    .join(', ');

/** The first member's XML as that of another one. */
function renumber(xml, index, directory) {
  const name = `cwt-floor-${String(index).padStart(3, '0')}`;
  return xml
    .replace(/<name>[^<]+/, `<name>${name}`)
    .replace(/<uuid>[^<]+/, `<uuid>${uuid(index)}`)
    .replace(/<source file="[^"]+overlays[^"]+"/, `<source file="${directory}/${name}.qcow2"`)
    .replace(/<log file="[^"]+"/, `<log file="${directory}/logs/${name}.log"`);
}

function asHandTemplate(xml, directory) {
  return xml
    .replace(/<name>[^<]+/, '<name>NAME')
    .replace(/<uuid>[^<]+/, '<uuid>UUID')
    .replace(/<metadata>.*<\/metadata>/s, '')
    .replace(/<source file="[^"]+overlays[^"]+"/, '<source file="OVERLAY"')
    .replace(/<log file="[^"]+"/, `<log file="${directory}/NAME.log"`);
}

const uuid = (index) => `c0ffee00-0000-4000-8000-${String(index).padStart(12, '0')}`;

async function thousand() {
  const golden = join(scratch, 'golden-1000.qcow2');
  await buildGolden(golden, { filledMiB: 1 });
  const big = 'cwt-bench-k';
  say('1,000 members, defined and off');
  const spawn = await cowherd('spawn', big, '--base', golden, '--count', '1000', ...guest, '--no-start');
  const status = [];
  const report = [];
  for (let turn = 0; turn < rounds; turn++) {
    status.push(await cowherd('status', big));
    report.push(await cowherd('report', big));
  }
  const reset = await cowherd('reset', big);
  const teardown = await cowherd('teardown', big, '--yes', '--with-base');
  const all = { spawn: [spawn], status, report, reset: [reset], teardown: [teardown] };
  row('status of 1,000 defined', median(status.map((item) => item.wall_s)), 's', 2.5, 'less');
  row('report of 1,000 defined', median(report.map((item) => item.wall_s)), 's', 2.5, 'less');
  const peak =
    Math.max(
      ...Object.values(all)
        .flat()
        .map((item) => item.peak_kib),
    ) / 1024;
  row('peak memory at 1,000 members', peak, 'MiB', 150, 'less', {
    spawn_s: spawn.wall_s,
    reset_s: reset.wall_s,
    teardown_s: teardown.wall_s,
  });
  return all;
}

async function cleanUp() {
  const open = await openHost({ connect: uri, store });
  try {
    for (const { name } of await open.hypervisor.listDomains()) {
      if (!/^cwt-(bench|floor|hand)(-([kglw]|c[cgw]))?-\d+$/.test(name)) continue;
      await open.hypervisor.destroy(name);
      await open.hypervisor.undefine(name);
    }
  } finally {
    await open.close();
  }
  await rm(store, { recursive: true, force: true });
  await rm(scratch, { recursive: true, force: true });
}

const measured = {};
try {
  if (wants('overlays')) measured.overlays = await benchOverlays(store, scratch, row);
  if (wants('thousand')) measured.thousand = await thousand();
  if (wants('linear')) measured.linear = await benchLinear({ cowherd, scratch, row, say });
  if (wants('fleet')) measured.fleet = await fleetPairs();
  if (wants('guests')) measured.guests = await benchGuests({ run, measure, cowherd, scratch, rounds, row, median, say });
  // `--only warm-debian` leaves the tiny ones out.
  if (wants('warm') || wants('warm-debian'))
    measured.warm = await benchWarm({
      run,
      cowherd,
      scratch,
      rounds,
      row,
      median,
      say,
      withTiny: wants('warm'),
      debian: values.debian,
      members: Number(values.warm),
    });
  if (wants('warm') || wants('clones') || wants('clones-debian')) {
    const debian = values.debian === undefined ? undefined : { image: values.debian, members: Number(values['debian-clones']) };
    const tiny = wants('warm') || wants('clones') ? Number(values.clones) : 0;
    measured.clones = await benchClones({ run, cowherd, scratch, rounds, row, median, say, tiny, debian });
  }
} finally {
  await cleanUp();
}
const machine = { node: process.version, ...(await versions()) };
const results = join(here, 'results');
await mkdir(results, { recursive: true });
await writeFile(
  join(results, 'latest.json'),
  `${JSON.stringify({ date: new Date().toISOString().slice(0, 10), machine, count, rounds, rows, measured }, undefined, 2)}\n`,
);

console.log(`\n| what | figure | limit | |\n| --- | ---: | ---: | --- |`);
for (const { name, figure, unit, limit, better, met, cowherd_s, other_s, cowherd_cpu_s, other_cpu_s } of rows) {
  const walls = cowherd_s === undefined ? '' : ` (${cowherd_s} s, ${other_s} s)`;
  const pair = cowherd_cpu_s === undefined ? walls : ` (${cowherd_cpu_s} CPU-s, ${other_cpu_s} CPU-s)`;
  console.log(`| ${name} | ${figure} ${unit}${pair} | ${better === 'less' ? '≤' : '≥'} ${limit} | ${met ? 'met' : '**missed**'} |`);
}
process.exitCode = rows.every((item) => item.met) ? 0 : 1;

async function versions() {
  const cpus = (await readFile('/proc/cpuinfo', 'utf8')).match(/^processor/gm)?.length;
  const open = await openHost({ connect: uri });
  try {
    return { cpus, ...(await open.hypervisor.versions()) };
  } finally {
    await open.close();
  }
}
