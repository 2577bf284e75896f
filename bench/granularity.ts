import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { type Account, accounted, line } from './account.js';
import { at, type Bench, round } from './bench.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const base = 'cwt-bench-b';
const formats = {
  plain: 'cluster-size=64KiB,extended-l2=off',
  small: 'cluster-size=64KiB,extended-l2=on',
  large: 'cluster-size=128KiB,extended-l2=on',
};
type Format = keyof typeof formats;
interface Measured {
  step: string;
  format: Format;
  /** By how much the overlay grew. */
  kib: number;
  cost: Account;
}
const names: Record<Format, string> = { plain: 'cwt-bench-bp', small: 'cwt-bench-bs', large: 'cwt-bench-bl' };
const boot = 'a boot';
/** A package with many files, and what it needs beyond the image of examples/debian-12. */
const packages = ['vim', 'vim-common', 'vim-runtime', 'libgpm2', 'libsodium23'];
const install = 'cd /root && DEBIAN_FRONTEND=noninteractive dpkg -i *.deb';
/** 1,000 transactions, each of which changes one of 20,000 rows. */
const database = `python3 - <<'PY'
import sqlite3, random
d = sqlite3.connect('/root/t.db')
d.execute('create table t(k integer primary key, v text)')
d.executemany('insert into t values(?, ?)', [(k, 'x' * 200) for k in range(20000)])
d.commit()
for i in range(1000):
    d.execute('update t set v = ? where k = ?', ('y' * 200, random.randrange(20000)))
    d.commit()
PY`;

/** What the same work takes in overlays with 64 KiB clusters, and in overlays with extended L2 entries. */
export async function benchGranularity({ run, cowherd, scratch, row, say }: Bench, debian: string | undefined) {
  const image = join(scratch, 'tiny-granularity.qcow2');
  await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), image]);
  const taken: Record<string, unknown> = {};
  taken.tiny = await compare('tiny Linux', image, ['--memory', '128MiB'], 'agent', { [boot]: 'sync' });
  if (debian === undefined) return taken;
  const debs = join(scratch, 'debs');
  await execa('mkdir', [debs]);
  await execa('apt-get', ['download', ...packages], { cwd: debs });
  const steps = { [boot]: 'sync', 'a package install': `${install} >/dev/null && sync`, 'database writes': `${database}\nsync` };
  taken.debian = await compare('Debian 12', debian, ['--memory', '512MiB'], 'agent,cloud-init', steps, debs);
  return taken;

  async function compare(what: string, image: string, more: string[], ready: string, steps: Record<string, string>, files?: string) {
    await run('base', 'add', image, '--name', base);
    const found: Measured[] = [];
    for (const format of Object.keys(formats) as Format[]) {
      const fleet = names[format];
      const guest = ['--count', '1', ...more, '--seed', 'nocloud', '--virt-type', 'qemu', '--overlay', formats[format]];
      await run('spawn', fleet, '--base', base, ...guest, '--no-start');
      for (const [step, command] of Object.entries(steps)) {
        const { kib, cost } = await grow(fleet, step, command, ready);
        found.push({ step, format, kib, cost });
        say(`  ${what}, ${formats[format]}, ${step}: ${kib} KiB, ${line(cost)}`);
        if (step === boot && files !== undefined) await copy(fleet, files);
      }
      await run('teardown', fleet, '--yes');
    }
    await run('base', 'remove', base);
    for (const step of Object.keys(steps)) {
      const kib = (format: Format): number => found.find((one) => one.step === step && one.format === format)?.kib ?? 0;
      const details = Object.fromEntries(found.filter((one) => one.step === step).map((one) => [one.format, one]));
      row(`growth by ${step} of ${what}, plain against extended L2`, kib('plain') / kib('small'), '×', 1, 'more', details);
    }
    return found;
  }

  async function grow(fleet: string, step: string, command: string, ready: string): Promise<{ kib: number; cost: Account }> {
    const before = await size(fleet);
    const act = () =>
      step === boot
        ? cowherd('start', fleet, '--wait', ready, '--timeout', '30m')
        : cowherd('exec', fleet, '--via', 'agent', '--timeout', '30m', '--', '/bin/sh', '-c', command);
    const cost = await accounted(`${fleet}-`, act);
    if (step === boot) await run('exec', fleet, '--via', 'agent', '--', 'sync');
    return { kib: round(((await size(fleet)) - before) / 2 ** 10, 0), cost };
  }

  async function copy(fleet: string, files: string): Promise<void> {
    for (const file of await readdir(files)) await run('cp', join(files, file), `${fleet}-001:/root/`, '--via', 'agent');
    await run('exec', fleet, '--via', 'agent', '--', 'sync');
  }

  /** Bytes of the overlay on disk. */
  async function size(fleet: string): Promise<number> {
    const { members } = await run<{ members: { overlayBytes: number }[] }>('status', fleet);
    return at(members, 0).overlayBytes;
  }
}
