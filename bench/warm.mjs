import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { accounted, line, round } from './account.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const fleet = 'cwt-bench-w';

/**
 * Warm resets beside cold ones, of the same members in the same run, until the agent answers.
 * @param {{run: Function, cowherd: Function, scratch: string, rounds: number, row: Function, median: Function, say: Function, withTiny: boolean, debian: string | undefined, members: number}} bench
 */
export async function benchWarm({ run, cowherd, scratch, rounds, row, median, say, withTiny, debian, members }) {
  const taken = {};
  if (withTiny) {
    const tiny = join(scratch, 'tiny-warm.qcow2');
    await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), tiny]);
    taken.tiny = await guests('tiny Linux', tiny, ['--memory', '128MiB', '--seed', 'nocloud'], { ready: 'agent' });
    if (members >= 20) taken.hundred = await hundred(tiny);
  }
  // Four at a time: of twenty that booted at once on two busy cores none had an agent after 22 minutes.
  if (debian !== undefined)
    taken.debian = await guests('Debian 12', debian, ['--memory', '512MiB', '--seed', 'nocloud'], {
      ready: 'agent,cloud-init',
      wave: 4,
    });
  return taken;

  /** The boots and checkpoints of all, a wave at a time; those of a wave are off when the next one begins. */
  async function prepare(wave, ready) {
    const sums = [nothing(), nothing()];
    for (let first = 1; first <= members; first += wave) {
      const last = Math.min(members, first + wave - 1);
      const range = `${first}-${last}`;
      const names = Array.from({ length: last - first + 1 }, (_, at) => `${fleet}-${String(first + at).padStart(3, '0')},`);
      const cold = await accounted(names, () => cowherd('start', fleet, range, '--wait', 'agent', '--timeout', '60m'));
      say(`  cold ${range} ${line(cold)}`);
      // What cloud-init still does until they are ready is in it.
      const frozen = await accounted(names, () => cowherd('checkpoint', fleet, range, '--wait', ready, '--timeout', '60m'));
      say(`  checkpoint ${range} ${line(frozen)}`);
      if (wave < members) await run('stop', fleet, range, '--force');
      for (const [position, took] of [cold, frozen].entries())
        for (const key of Object.keys(took)) sums[position][key] = round(sums[position][key] + took[key]);
    }
    return sums;
  }

  async function guests(what, image, more, { ready, wave = members }) {
    say(`${members} × ${what}`);
    await run('base', 'add', image, '--name', fleet);
    // A first boot on a fresh overlay is what a cold reset comes to; agent ping is where both are measured.
    await run('spawn', fleet, '--base', fleet, '--count', String(members), ...more, '--virt-type', 'qemu', '--no-start');
    const [cold, frozen] = await prepare(wave, ready);
    say(`  cold ${line(cold)}`);
    say(`  checkpoint ${line(frozen)}`);
    const warm = [];
    for (let turn = 0; turn < rounds; turn++) {
      warm.push(await accounted(`${fleet}-`, () => cowherd('reset', fleet, '--warm', '--wait', 'agent')));
      say(`  warm ${line(warm.at(-1))}`);
    }
    const report = await run('report', fleet);
    await run('teardown', fleet, '--yes', '--with-base');
    const cpu = ({ guests, daemon, tool }) => (guests + daemon + tool) / members;
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

  async function hundred(image) {
    const members = 100;
    say(`${members} × tiny Linux`);
    await run('base', 'add', image, '--name', fleet);
    await run(
      'spawn',
      fleet,
      '--base',
      fleet,
      '--count',
      String(members),
      '--memory',
      '96MiB',
      '--virt-type',
      'qemu',
      '--wait',
      'agent',
      '--timeout',
      '20m',
      '--force',
    );
    await run('checkpoint', fleet);
    const warm = await accounted(`${fleet}-`, () => cowherd('reset', fleet, '--warm', '--wait', 'agent'));
    say(`  warm ${line(warm)}`);
    await run('teardown', fleet, '--yes', '--with-base');
    row('time of a warm reset of 100 × tiny Linux', warm.wall, 's', 20, 'less', {
      cpu_s_each: round((warm.guests + warm.daemon + warm.tool) / members),
    });
    return warm;
  }
}

const nothing = () => ({ wall: 0, tool: 0, daemon: 0, guests: 0 });
