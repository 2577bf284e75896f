import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { type Account, accounted, cpuSeconds, line } from './account.js';
import { type Bench, round } from './bench.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const fleet = 'cwt-bench-w';

/** Compares warm resets with cold resets of the same members in the same run, until the agent answers. */
export async function benchWarm(
  { run, cowherd, scratch, rounds, row, say, sizes: { warm: members, warmHundred } }: Bench,
  { withTiny, debian }: { withTiny: boolean; debian: string | undefined },
) {
  const taken: Record<string, unknown> = {};
  if (withTiny) {
    const tiny = join(scratch, 'tiny-warm.qcow2');
    await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), tiny]);
    taken.tiny = await guests('tiny Linux', tiny, ['--memory', '128MiB', '--seed', 'nocloud'], { ready: 'agent' });
    if (warmHundred > 0) taken.hundred = await hundred(tiny, warmHundred);
  }
  // Four at a time: when twenty booted at once on two busy cores, no agent answered within 22 minutes.
  if (debian !== undefined)
    taken.debian = await guests('Debian 12', debian, ['--memory', '512MiB', '--seed', 'nocloud'], {
      ready: 'agent,cloud-init',
      wave: 4,
    });
  return taken;

  /** Boots and checkpoints all members in waves; each wave is stopped before the next one begins. */
  async function prepare(wave: number, ready: string): Promise<[cold: Account, frozen: Account]> {
    const sums: [Account, Account] = [nothing(), nothing()];
    for (let first = 1; first <= members; first += wave) {
      const last = Math.min(members, first + wave - 1);
      const range = `${first}-${last}`;
      const names = Array.from({ length: last - first + 1 }, (_, at) => `${fleet}-${String(first + at).padStart(3, '0')},`);
      const cold = await accounted(names, () => cowherd('start', fleet, range, '--wait', 'agent', '--timeout', '60m'));
      say(`  cold ${range} ${line(cold)}`);
      // This includes the work of cloud-init until the guests are ready.
      const frozen = await accounted(names, () => cowherd('checkpoint', fleet, range, '--wait', ready, '--timeout', '60m'));
      say(`  checkpoint ${range} ${line(frozen)}`);
      if (wave < members) await run('stop', fleet, range, '--force');
      sums[0] = sum(sums[0], cold);
      sums[1] = sum(sums[1], frozen);
    }
    return sums;
  }

  async function guests(what: string, image: string, more: string[], { ready, wave = members }: { ready: string; wave?: number }) {
    say(`${members} × ${what}`);
    await run('base', 'add', image, '--name', fleet);
    // A cold reset is equivalent to a first boot on a fresh overlay; both are measured until the agent answers.
    await run('spawn', fleet, '--base', fleet, '--count', String(members), ...more, '--virt-type', 'qemu', '--no-start');
    const [cold, frozen] = await prepare(wave, ready);
    say(`  cold ${line(cold)}`);
    say(`  checkpoint ${line(frozen)}`);
    const warm: Account[] = [];
    for (let turn = 0; turn < rounds; turn++) {
      const took = await accounted(`${fleet}-`, () => cowherd('reset', fleet, '--warm', '--wait', 'agent'));
      warm.push(took);
      say(`  warm ${line(took)}`);
    }
    const report = await run<{ overlays: { checkpointBytes: number } }>('report', fleet);
    await run('teardown', fleet, '--yes', '--with-base');
    const cpu = (took: Account): number => cpuSeconds(took) / members;
    const each = median(warm.map(cpu));
    row(`CPU of a cold boot against a warm one, ${members} × ${what}`, cpu(cold) / each, '×', 15, 'more', {
      cold_cpu_s: round(cpu(cold)),
      warm_cpu_s: round(each),
      checkpoint_cpu_s: round(cpu(frozen)),
      checkpoint_mib: round(report.overlays.checkpointBytes / members / 2 ** 20),
    });
    const wall = median(warm.map((one) => one.wall));
    row(`time of a cold boot against a warm one, ${members} × ${what}`, cold.wall / wall, '×', 4, 'more', {
      cold_wall_s: round(cold.wall),
      warm_wall_s: round(wall),
      checkpoint_wall_s: round(frozen.wall),
    });
    return { cold, frozen, warm };
  }

  async function hundred(image: string, members: number): Promise<Account> {
    say(`${members} × tiny Linux`);
    await run('base', 'add', image, '--name', fleet);
    const guest = ['--memory', '96MiB', '--virt-type', 'qemu', '--wait', 'agent', '--timeout', '20m', '--force'];
    await run('spawn', fleet, '--base', fleet, '--count', String(members), ...guest);
    await run('checkpoint', fleet);
    const warm = await accounted(`${fleet}-`, () => cowherd('reset', fleet, '--warm', '--wait', 'agent'));
    say(`  warm ${line(warm)}`);
    await run('teardown', fleet, '--yes', '--with-base');
    row(`time of a warm reset of ${members} × tiny Linux`, warm.wall, 's', 20, 'less', {
      cpu_s_each: round(cpuSeconds(warm) / members),
    });
    return warm;
  }
}

const nothing = (): Account => ({ wall: 0, tool: 0, daemon: 0, guests: 0 });
const sum = (a: Account, b: Account): Account => ({
  wall: round(a.wall + b.wall),
  tool: round(a.tool + b.tool),
  daemon: round(a.daemon + b.daemon),
  guests: round(a.guests + b.guests),
});
