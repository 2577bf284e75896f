import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { type Account, accounted, cpuSeconds, line } from './account.js';
import { at, type Bench, round } from './bench.js';
import { domainTemplate } from './template.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const fleet = 'cwt-bench-g';

/**
 * Compares Linux guests from creation to readiness (agent and ssh) with the same domains created by a script. The figures are the CPU
 * time of the guests (QEMU), of libvirtd, and of the tool with its child processes.
 */
export async function benchGuests({ run, measure, cowherd, scratch, rounds, row, say, sizes: { guests: members } }: Bench) {
  const golden = join(scratch, 'tiny.qcow2');
  await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), golden]);
  const base = await run<{ path: string }>('base', 'add', golden, '--name', fleet);
  const guest = ['--memory', '128MiB', '--seed', 'nocloud', '--forward-ssh', '--virt-type', 'qemu'];
  const dir = join(scratch, 'by-hand');
  const script = (verb: string, ...more: string[]): string[] => [
    ...[join(here, 'by-hand-guests.sh'), verb, dir, base.path, String(members)],
    ...more,
  ];
  const taken = { cowherd: [] as Account[], hand: [] as Account[] };
  for (let turn = 1; turn <= rounds; turn++) {
    say(`round ${turn} of ${rounds}, ${members} Linux guests`);
    const own = await accounted(`${fleet}-`, () =>
      cowherd('spawn', fleet, '--base', fleet, '--count', String(members), ...guest, '--wait', 'agent,ssh'),
    );
    taken.cowherd.push(own);
    say(`  cowherd ${line(own)}`);
    if (turn === 1) {
      const { xml } = await run<{ xml: string }>('template', 'render', fleet, '1');
      await execa('bash', script('prepare', asTemplate(xml)));
      await execa('chmod', ['-R', 'o+rX', scratch]);
    }
    await run('teardown', fleet, '--yes');
    const hand = await accounted('cwt-hand-', () => measure('bash', ...script('spawn')));
    taken.hand.push(hand);
    say(`  by hand ${line(hand)}`);
    await execa('bash', script('teardown'));
  }
  await run('base', 'remove', fleet);
  const each = (list: Account[]): number => median(list.map(cpuSeconds)) / members;
  row('CPU per Linux guest to ready, against by hand', each(taken.cowherd) / each(taken.hand), '×', 1.1, 'less', {
    cowherd_cpu_s: round(each(taken.cowherd)),
    other_cpu_s: round(each(taken.hand)),
    // Pauses between checks grow to two seconds, which adds to the wall time.
    wall_ratio: round(median(taken.cowherd.map((item, turn) => item.wall / at(taken.hand, turn).wall))),
  });
  const share = taken.cowherd.map((item) => (100 * item.tool) / cpuSeconds(item));
  row(`cowherd's own share of it`, median(share), '%', 3, 'less');
  return taken;
}

function asTemplate(xml: string): string {
  return domainTemplate(xml, { disk: 'DIR/NAME.qcow2', log: 'DIR/NAME.log' })
    .replace(/<source file="[^"]+seeds[^"]+"/, '<source file="DIR/NAME.iso"')
    .replace(/127\.0\.0\.1:\d+-/, '127.0.0.1:PORT-')
    .replace(/mac=[0-9a-f:]{17}/, 'mac=MAC');
}
