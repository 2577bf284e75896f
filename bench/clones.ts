import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { type Account, accounted, cpuSeconds, line } from './account.js';
import { type Bench, round } from './bench.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const golden = 'cwt-bench-cg';
const fleets = { clones: 'cwt-bench-cw', cold: 'cwt-bench-cc' };
/** The same concurrency for clones and boots. */
const alike = ['--boot-concurrency', '8', '--concurrency', '16'];
/** At that point, a clone has its own host name, MAC, machine-id and host key. */
const own = ['--wait', 'address', '--timeout', '10m'];

type Kind = 'clones' | 'reset' | 'cold';
interface Pair {
  members: number;
  rounds: number;
  /** The stage that a booted guest must reach. */
  ready: string;
  /** The minimum ratio. */
  limit: number;
}

/**
 * Compares instant clones of a running VM with booted guests, in turn. Clones are ready when they have their own identity and an
 * address; booted guests when they have reached the stage of the source VM at the freeze, and have an address.
 */
export async function benchClones(
  { run, cowherd, scratch, row, say, sizes: { clones } }: Bench,
  { withTiny, debian }: { withTiny: boolean; debian: { image: string; members: number } | undefined },
) {
  const taken: Record<string, unknown> = {};
  if (withTiny) {
    const image = join(scratch, 'tiny-clones.qcow2');
    await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), image]);
    taken.tiny = await pair('tiny Linux', image, '128MiB', { members: clones, rounds: 1, ready: 'agent', limit: 8 });
  }
  // The figures are far from the limit, so one round is enough.
  if (debian !== undefined)
    taken.debian = await pair('Debian 12', debian.image, '512MiB', {
      members: debian.members,
      rounds: 1,
      ready: 'agent,cloud-init',
      limit: 25,
    });
  return taken;

  async function pair(what: string, image: string, memory: string, { members, rounds, ready, limit }: Pair) {
    await run('base', 'add', image, '--name', golden);
    const guest = ['--base', golden, '--memory', memory, '--seed', 'smbios', '--virt-type', 'qemu'];
    await run('spawn', golden, ...guest, '--count', '1', '--wait', ready, '--timeout', '20m');
    const count = ['--count', String(members), ...alike];
    const figures: Record<Kind, Account[]> = { clones: [], reset: [], cold: [] };
    const note = (kind: Kind, figure: Account): void => {
      figures[kind].push(figure);
      say(`  ${kind.padEnd(6)} ${line(figure)}`);
    };
    say(`${members} × ${what}, cloned and booted`);
    for (let turn = 0; turn < rounds; turn++) {
      // The time for freezing the source VM is included in that of libvirt and cowherd.
      const { clones, cold } = fleets;
      note('clones', await accounted(`${clones}-`, () => cowherd('spawn', clones, '--from-running', `${golden}-001`, ...count, ...own)));
      note('reset', await accounted(`${clones}-`, () => cowherd('reset', clones, ...alike, ...own)));
      await run('teardown', clones, '--yes', '--with-base');
      note(
        'cold',
        await accounted(`${cold}-`, () => cowherd('spawn', cold, ...guest, ...count, '--wait', `${ready},address`, '--timeout', '60m')),
      );
      await run('teardown', cold, '--yes');
    }
    await run('teardown', golden, '--yes', '--with-base');
    const cpu = (kind: Kind): number => median(figures[kind].map(cpuSeconds)) / members;
    const [clones, reset, cold] = [cpu('clones'), cpu('reset'), cpu('cold')];
    const wall = (kind: Kind): number => round(median(figures[kind].map((one) => one.wall)));
    row(`CPU of a cold boot against an instant clone, ${members} × ${what}`, cold / clones, '×', limit, 'more', {
      cold_cpu_s: round(cold),
      clone_cpu_s: round(clones),
      cold_wall_s: wall('cold'),
      clone_wall_s: wall('clones'),
    });
    const share = figures.clones.map((figure) => (100 * figure.tool) / cpuSeconds(figure));
    row(`cowherd's own share of the CPU of these clones`, median(share), '%', 10, 'less');
    row(`CPU of a cold boot against a reset of clones, ${members} × ${what}`, cold / reset, '×', limit, 'more', {
      cold_cpu_s: round(cold),
      reset_cpu_s: round(reset),
      reset_wall_s: wall('reset'),
    });
    return figures;
  }
}
