import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { type Account, accounted, cpuSeconds, line } from './account.js';
import { type Bench, round } from './bench.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const golden = 'cwt-bench-cg';
const fleet = 'cwt-bench-cw';
const network = ['--network', 'none'];

/** Guests whose clones do not share memory: libvirt's description of its kind is enough, without another effect. */
const ownMemory = '<memoryBacking><source type="anonymous"/></memoryBacking>';

interface Figures {
  /** Seconds until all clones have their own identity. */
  wall: number;
  /** CPU seconds and MiB of proportional memory of one clone. */
  cpu: number;
  memoryMiB: number;
}

/** Clones of guests with much memory in use: shared memory against a copy for each, and the cost by size. */
export async function benchMemory(bench: Bench, isQuick: boolean) {
  const { run, cowherd, row, say, scratch, rounds } = bench;
  const image = join(scratch, 'tiny-memory.qcow2');
  await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), image]);
  const template = join(scratch, 'own-memory.xml.hbs');
  const text = await readFile(join(here, '..', 'templates', 'domain.xml.hbs'), 'utf8');
  await writeFile(template, text.replace('  <memory unit', `  ${ownMemory}\n  <memory unit`));

  const few = isQuick ? 2 : 10;
  const shared = await measure(isQuick ? 128 : 1024, isQuick ? 16 : 700, few, []);
  const copied = await measure(isQuick ? 128 : 1024, isQuick ? 16 : 700, few, ['--template', template], 1);
  const guests = `${few} clones of a 1 GiB guest with 700 MB in use`;
  row(`time of ${guests}, copies against shared memory`, copied.wall / shared.wall, '×', 8, 'more', { copied, shared });
  row('memory of each of these clones, copies against shared memory', copied.memoryMiB / shared.memoryMiB, '×', 15, 'more');

  const sizes = isQuick ? [16] : [256, 1024, 2048, 4096];
  const bySize: Record<string, Figures> = {};
  for (const used of sizes) bySize[`${used} MiB`] = await measure(isQuick ? 128 : used + 512, used, few, []);
  for (const what of ['wall', 'memoryMiB'] as const) {
    const figures = Object.values(bySize).map((figure) => figure[what]);
    const name = `${what === 'wall' ? `time of ${few} clones` : 'memory of a clone'} with 256 MiB to 4 GiB in use, the highest against the lowest`;
    row(name, Math.max(...figures) / Math.min(...figures), '×', 1.15, 'less', bySize);
  }
  const many = await hundred(isQuick ? 3 : 100);
  row('memory of 100 clones of a 1 GiB guest with 700 MB in use, all answering', many.totalMiB / 1024, 'GiB', 5, 'less', many);
  return { shared, copied, bySize, many };

  /** @param used MiB that the source VM has written */
  async function source(memory: number, used: number, more: readonly string[]): Promise<void> {
    await run('base', 'add', image, '--name', golden);
    const machine = ['--base', golden, '--memory', `${memory}MiB`, '--seed', 'smbios', '--virt-type', 'qemu', ...network];
    await run('spawn', golden, ...machine, ...more, '--count', '1', '--wait', 'agent', '--timeout', '10m');
    const fill = `mkdir /fill; mount -t tmpfs -o size=${used}m none /fill; dd if=/dev/urandom of=/fill/0 bs=1M count=${Math.min(16, used)}
      i=1; while [ $i -lt ${Math.floor(used / 16)} ]; do cp /fill/0 /fill/$i; i=$((i + 1)); done; sync`;
    await run('exec', golden, '--via', 'agent', '--timeout', '10m', '--', '/bin/sh', '-c', fill);
  }

  /** @param turns how often to add as many clones; the times are medians */
  async function measure(memory: number, used: number, count: number, more: readonly string[], turns = rounds): Promise<Figures> {
    await source(memory, used, more);
    // The freeze is not part of the time: it is once for all clones.
    await run('spawn', fleet, '--from-running', `${golden}-001`, '--count', '1');
    const accounts: Account[] = [];
    for (let members = 1 + count; accounts.length < turns; members += count) {
      const account = await accounted(`${fleet}-`, () => cowherd('spawn', fleet, '--count', String(members), '--force'));
      say(`  ${used} of ${memory} MiB in use, ${more.length > 0 ? 'copied' : 'shared'}: ${line(account)}`);
      accounts.push(account);
    }
    const memoryMiB = (await proportional()) / (1 + count * turns);
    await clear();
    const [wall, cpu] = [median(accounts.map((one) => one.wall)), median(accounts.map(cpuSeconds))];
    return { wall: round(wall), cpu: round(cpu / count), memoryMiB: round(memoryMiB) };
  }

  async function hundred(count: number) {
    await source(isQuick ? 128 : 1024, isQuick ? 16 : 700, []);
    const usage = await cowherd('spawn', fleet, '--from-running', `${golden}-001`, '--count', String(count), '--force');
    const { members } = await run<{ members: { exitCode: number }[] }>('exec', fleet, '--via', 'agent', '--', '/bin/true');
    if (members.length !== count || members.some(({ exitCode }) => exitCode !== 0)) throw new Error('a clone does not answer');
    const totalMiB = await proportional();
    await clear();
    return { wall: round(usage.wall_s), totalMiB: round(totalMiB) };
  }

  /** MiB of all clones together. */
  async function proportional(): Promise<number> {
    const { memory } = await run<{ memory: { proportionalBytes: number } }>('status', fleet, '--memory');
    return memory.proportionalBytes / 2 ** 20;
  }

  async function clear(): Promise<void> {
    for (const name of [fleet, golden]) await run('teardown', name, '--yes', '--with-base');
  }
}
