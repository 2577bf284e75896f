import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { type Account, accounted, cpuSeconds, line } from './account.js';
import { at, type Bench, round } from './bench.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const base = 'cwt-bench-b';
const formats = {
  plain: 'cluster-size=64KiB,extended-l2=off',
  small: 'cluster-size=64KiB,extended-l2=on',
  large: 'cluster-size=128KiB,extended-l2=on',
};
type Format = keyof typeof formats;
const names: Record<Format, string> = { plain: 'cwt-bench-bp', small: 'cwt-bench-bs', large: 'cwt-bench-bl' };
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
  const boot = 'a boot';
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
    const drifts: Record<string, Partial<Record<Format, number>>> = {};
    const costs: Record<string, Partial<Record<Format, Account>>> = {};
    for (const format of Object.keys(formats) as Format[]) {
      const fleet = names[format];
      const guest = ['--count', '1', ...more, '--seed', 'nocloud', '--virt-type', 'qemu', '--overlay', formats[format]];
      await run('spawn', fleet, '--base', base, ...guest, '--no-start');
      for (const [step, command] of Object.entries(steps)) {
        const fresh = await size(fleet);
        const act = () =>
          step === boot
            ? cowherd('start', fleet, '--wait', ready, '--timeout', '30m')
            : cowherd('exec', fleet, '--via', 'agent', '--timeout', '30m', '--', '/bin/sh', '-c', command);
        const cost = await accounted(`${fleet}-`, act);
        if (step === boot) await run('exec', fleet, '--via', 'agent', '--', 'sync');
        const grown = (await size(fleet)) - fresh;
        (drifts[step] ??= {})[format] = round(grown / 2 ** 10, 0);
        (costs[step] ??= {})[format] = cost;
        say(`  ${what}, ${formats[format]}, ${step}: ${round(grown / 2 ** 10, 0)} KiB, ${line(cost)}`);
        if (step === boot && files !== undefined) {
          for (const file of await readdir(files)) await run('cp', join(files, file), `${fleet}-001:/root/`, '--via', 'agent');
          await run('exec', fleet, '--via', 'agent', '--', 'sync');
        }
      }
      await run('teardown', fleet, '--yes');
    }
    await run('base', 'remove', base);
    for (const [step, { plain = 0, small = 1, large = 1 }] of Object.entries(drifts)) {
      const cpu = Object.fromEntries(Object.entries(costs[step] ?? {}).map(([format, cost]) => [format, round(cpuSeconds(cost))]));
      const details = { plain_kib: plain, small_kib: small, large_kib: large, cpu };
      row(`growth by ${step} of ${what}, 64 KiB clusters against extended L2`, plain / Math.min(small, large), '×', 1, 'more', details);
    }
    return { drifts, costs };
  }

  /** Bytes of the overlay on disk. */
  async function size(fleet: string): Promise<number> {
    const { members } = await run<{ members: { overlayBytes: number }[] }>('status', fleet);
    return at(members, 0).overlayBytes;
  }
}
