import { type Account, accounted, cpuSeconds, line } from './account.js';
import { type Bench, round } from './bench.js';

const base = 'cwt-bench-o';
const fleets = { once: 'cwt-bench-oc', each: 'cwt-bench-ob' };
const guest = ['--memory', '512MiB', '--seed', 'smbios', '--virt-type', 'qemu'];
const stages = 'agent,cloud-init,address';
/** More guests that boot at the same time on two emulated cores do not become ready within an hour. */
const wave = 4;

/** One boot and its clones, against a boot of each member, until cloud-init is done and they have an address. */
export async function benchBootOnce({ run, cowherd, row, say }: Bench, image: string, members: number) {
  await run('base', 'add', image, '--name', base);
  const { once, each } = fleets;
  const count = ['--count', String(members)];
  const ready = ['--wait', stages, '--timeout', '60m'];
  await run('spawn', each, '--base', base, ...guest, ...count, '--no-start');
  const start = (first: number, last: number): Promise<Account> =>
    accounted(`${each}-`, () => cowherd('start', each, `${first}-${last}`, ...ready));
  const boot = await start(1, 1);
  say(`  one boot ${line(boot)}`);
  const booted = [boot];
  // Idle emulated guests would slow down the others.
  await run('stop', each, '--force');
  const cloned = await accounted(`${once}-`, () => cowherd('spawn', once, '--base', base, ...guest, ...count, ...ready, '--boot-once'));
  // The VM that boots for the others is removed before its time can be read.
  const total = cpuSeconds(cloned) + boot.guests;
  say(`  once ${line(cloned)}, and one boot`);
  await run('stop', once, '--force');
  for (let first = 2; first <= members; first += wave) {
    booted.push(await start(first, Math.min(members, first + wave - 1)));
    say(`  boots ${line(booted.at(-1) ?? boot)}`);
    await run('stop', each, '--force');
  }
  const all = booted.reduce((sum, account) => sum + cpuSeconds(account), 0);
  await run('teardown', once, '--yes', '--with-base');
  await run('teardown', each, '--yes', '--with-base');
  const details = { once_cpu_s: round(total), booted_cpu_s: round(all), once_wall_s: round(cloned.wall) };
  row(`CPU of ${members} Debian 12 guests that booted, against --boot-once`, all / total, '×', 8, 'more', details);
  return { cloned, booted };
}
