// `npm run bench [-- --count N --rounds N --only NAME --quick]`: compares cowherd with libvirt's API and with shell scripts, in pairs
// within one run. Prints a table and writes bench/results/latest.json. --quick only shows that each phase completes.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { openHost } from '../src/index.js';
import { type Bench, round, type Sizes, type Usage } from './bench.js';
import { benchBootOnce } from './boot-once.js';
import { benchClones } from './clones.js';
import { benchDefined } from './defined.js';
import { benchFleet } from './fleet.js';
import { benchGranularity } from './granularity.js';
import { benchGuests } from './guests.js';
import { benchLinear } from './linear.js';
import { benchMemory } from './memory.js';
import { benchNova } from './nova.js';
import { benchOverlays } from './overlays.js';
import { benchPull } from './pull.js';
import { benchRestore } from './restore.js';
import { benchStartup } from './startup.js';
import { benchWarm } from './warm.js';

const phases = [
  ...['startup', 'overlays', 'thousand', 'linear', 'fleet', 'loop', 'xargs', 'guests'],
  ...['warm', 'warm-debian', 'clones', 'clones-debian', 'boot-once', 'restore', 'memory', 'granularity', 'nova', 'pull'],
];
const { values } = parseArgs({
  options: {
    /** Members of the running fleet. */
    count: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    /** An image built by examples/debian-12. Without it, no Debian guests are measured. */
    debian: { type: 'string' },
    /** Guests of the warm reset. */
    warm: { type: 'string' },
    /** Clones of tiny Linux, of Debian, and of a Debian that boots once for them. */
    clones: { type: 'string' },
    'debian-clones': { type: 'string', default: '5' },
    'boot-once': { type: 'string', default: '20' },
  },
});
for (const name of values.only ?? []) if (!phases.includes(name)) throw new Error(`--only ${name}: choose from ${phases.join(', ')}`);
const wants = (name: string): boolean => values.only?.includes(name) ?? true;
const quick: Sizes = {
  startup: 2,
  fleet: 3,
  guests: 1,
  overlays: 20,
  defined: 20,
  linear: [10, 20, 30],
  warm: 1,
  warmHundred: 0,
  clones: 1,
  nova: [3],
  pullMiB: 64,
};
const usual: Sizes = {
  ...{ startup: 15, fleet: 100, guests: 8, overlays: 1000, defined: 1000, linear: [125, 250, 500, 1000] },
  ...{ warm: 20, warmHundred: 100, clones: 50, nova: [12, 100], pullMiB: 2048 },
};
const preset = values.quick ? quick : usual;
const number = (text: string | undefined, preset: number): number => (text === undefined ? preset : Number(text));
const sizes: Sizes = {
  ...preset,
  fleet: number(values.count, preset.fleet),
  warm: number(values.warm, preset.warm),
  clones: number(values.clones, preset.clones),
};
if (sizes.warm < 20) sizes.warmHundred = 0;
const rounds = number(values.rounds, values.quick ? 1 : 3);

const here = fileURLToPath(new URL('.', import.meta.url));
const bin = join(here, '..', 'bin', 'run.js');
const python = '/usr/bin/python3';
/** Guests finish booting before the next measurement. */
const settleSeconds = values.quick ? '0' : '2';

const host = await openHost();
// Next to the usual store, in a directory that QEMU's user can traverse.
const store = `${host.fleets.root}-cwt-bench`;
const uri = host.hypervisor.uri;
await host.close();
const scratch = await mkdtemp(join(tmpdir(), 'cwt-bench-'));
const env = { COWHERD_STORE: store, LIBVIRT_DEFAULT_URI: uri };

interface Row {
  name: string;
  figure: number;
  unit: string;
  limit: number;
  better: 'less' | 'more';
  met: boolean;
  /** Seconds or CPU seconds of both sides of a ratio. */
  cowherd_s?: number;
  other_s?: number;
  cowherd_cpu_s?: number;
  other_cpu_s?: number;
}
const rows: Row[] = [];

async function measured(settle: string, command: readonly string[]): Promise<Usage> {
  const { stdout, stderr } = await execa(python, [join(here, 'measure.py'), '--settle', settle, ...command], { env });
  const { exit, ...usage } = JSON.parse(stdout);
  if (exit !== 0) throw new Error(`${command.join(' ')} exited ${exit}\n${stderr}`);
  return usage;
}

const bench: Bench = {
  run: async (...args) => {
    // Words after -- belong to a guest.
    const end = args.includes('--') ? args.indexOf('--') : args.length;
    return JSON.parse((await execa(bin, args.toSpliced(end, 0, '--json'), { env })).stdout);
  },
  cowherd: (...args) => bench.measure(bin, ...args),
  measure: (...command) => measured(settleSeconds, command),
  floor: async (xmlDir, base, ...phases) =>
    JSON.parse((await execa(python, [join(here, 'floor.py'), '--connect', uri, xmlDir, base, ...phases])).stdout),
  row(name, figure, unit, limit, better, details) {
    const met = better === 'less' ? figure <= limit : figure >= limit;
    rows.push({ name, figure: round(figure), unit, limit, better, met, ...details });
    bench.say(
      `  ${values.quick ? '' : met ? 'ok   ' : 'MISS '}${name}: ${round(figure)} ${unit} (${better === 'less' ? 'at most' : 'at least'} ${limit})`,
    );
  },
  say: (text) => console.error(text),
  ...{ scratch, store, uri, rounds, sizes },
};

async function cleanUp(): Promise<void> {
  const open = await openHost({ connect: uri, store });
  try {
    for (const { name } of await open.hypervisor.listDomains()) {
      if (!/^cwt-(bench|floor|hand)(-([kglw]|c[cgw]|o[bc]|b[psl]|oc-boot))?-\d+$/.test(name)) continue;
      await open.hypervisor.destroy(name);
      await open.hypervisor.undefine(name);
    }
  } finally {
    await open.close();
  }
  await rm(store, { recursive: true, force: true });
  await rm(scratch, { recursive: true, force: true });
}

const taken: Record<string, unknown> = {};
try {
  if (wants('startup')) taken.startup = await benchStartup({ ...bench, measure: (...command) => measured('0', command) }, bin);
  if (wants('overlays')) taken.overlays = await benchOverlays(bench);
  if (wants('thousand')) taken.thousand = await benchDefined(bench);
  if (wants('linear')) taken.linear = await benchLinear(bench);
  if (wants('fleet')) taken.fleet = await benchFleet(bench, wants);
  if (wants('guests')) taken.guests = await benchGuests(bench);
  // `--only warm-debian` skips the tiny Linux guests.
  if (wants('warm') || wants('warm-debian')) taken.warm = await benchWarm(bench, { withTiny: wants('warm'), debian: values.debian });
  if (wants('warm') || wants('clones') || wants('clones-debian')) {
    const debian = values.debian === undefined ? undefined : { image: values.debian, members: Number(values['debian-clones']) };
    taken.clones = await benchClones(bench, { withTiny: wants('warm') || wants('clones'), debian });
  }
  if (wants('boot-once') && values.debian !== undefined)
    taken.bootOnce = await benchBootOnce(bench, values.debian, Number(values['boot-once']));
  if (wants('restore')) taken.restore = await benchRestore(bench);
  if (wants('granularity')) taken.granularity = await benchGranularity(bench, values.debian);
  if (wants('pull')) taken.pull = await benchPull(bench);
  if (wants('nova')) taken.nova = await benchNova(bench);
  if (wants('memory')) taken.memory = await benchMemory(bench, values.quick);
} finally {
  await cleanUp();
}
if (!values.quick) {
  const results = join(here, 'results');
  await mkdir(results, { recursive: true });
  const document = {
    date: new Date().toISOString().slice(0, 10),
    machine: { node: process.version, ...(await versions()) },
    ...{ count: sizes.fleet, rounds, rows, measured: taken },
  };
  await writeFile(join(results, 'latest.json'), `${JSON.stringify(document, undefined, 2)}\n`);
}

console.log(`\n| what | figure | limit | |\n| --- | ---: | ---: | --- |`);
for (const { name, figure, unit, limit, better, met, cowherd_s, other_s, cowherd_cpu_s, other_cpu_s } of rows) {
  const walls = cowherd_s === undefined ? '' : ` (${cowherd_s} s, ${other_s} s)`;
  const pair = cowherd_cpu_s === undefined ? walls : ` (${cowherd_cpu_s} CPU-s, ${other_cpu_s} CPU-s)`;
  console.log(
    `| ${name} | ${figure} ${unit}${pair} | ${better === 'less' ? '≤' : '≥'} ${limit} | ${values.quick ? 'not checked' : met ? 'met' : '**missed**'} |`,
  );
}
// The limits apply to the default sizes.
process.exitCode = values.quick || rows.every((item) => item.met) ? 0 : 1;

async function versions() {
  const cpus = (await readFile('/proc/cpuinfo', 'utf8')).match(/^processor/gm)?.length;
  const open = await openHost({ connect: uri });
  try {
    return { cpus, ...(await open.hypervisor.versions()) };
  } finally {
    await open.close();
  }
}
