import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { accounted, line, round } from './account.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const members = 8;
const fleet = 'cwt-bench-g';

/**
 * Linux guests from nothing to ready (agent and ssh), beside the same domains made and waited for by hand. CPU time is what is
 * compared: of the guests (QEMU), of libvirtd, and of the tool with all that it calls.
 * @param {{run: Function, measure: Function, cowherd: Function, scratch: string, rounds: number, row: Function, median: Function, say: Function}} bench
 */
export async function benchGuests({ run, measure, cowherd, scratch, rounds, row, median, say }) {
  const golden = join(scratch, 'tiny.qcow2');
  await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), golden]);
  const base = await run('base', 'add', golden, '--name', 'cwt-bench-g');
  const guest = ['--memory', '128MiB', '--seed', 'nocloud', '--forward-ssh', '--virt-type', 'qemu'];
  const taken = { cowherd: [], hand: [] };
  for (let turn = 1; turn <= rounds; turn++) {
    say(`round ${turn} of ${rounds}, ${members} Linux guests`);
    const own = await accounted(`${fleet}-`, () =>
      cowherd('spawn', fleet, '--base', 'cwt-bench-g', '--count', String(members), ...guest, '--wait', 'agent,ssh'),
    );
    taken.cowherd.push(own);
    say(`  cowherd ${line(own)}`);
    const dir = join(scratch, 'by-hand');
    if (turn === 1) {
      await execa('bash', [join(here, 'by-hand-guests.sh'), 'prepare', dir, base.path, String(members), await template(run)]);
      await execa('chmod', ['-R', 'o+rX', scratch]);
    }
    await run('teardown', fleet, '--yes');
    const hand = await accounted('cwt-hand-', () =>
      measure('bash', join(here, 'by-hand-guests.sh'), 'spawn', dir, base.path, String(members)),
    );
    taken.hand.push(hand);
    say(`  by hand ${line(hand)}`);
    await execa('bash', [join(here, 'by-hand-guests.sh'), 'teardown', dir, base.path, String(members)]);
  }
  await run('base', 'remove', 'cwt-bench-g');
  const each = (list) => median(list.map(({ guests, daemon, tool }) => (guests + daemon + tool) / members));
  row(`CPU per Linux guest to ready, against by hand`, each(taken.cowherd) / each(taken.hand), '×', 1.1, 'less', {
    cowherd_cpu_s: round(each(taken.cowherd)),
    other_cpu_s: round(each(taken.hand)),
    // Pauses between two looks grow to two seconds: that is what waiting adds to the wall.
    wall_ratio: round(median(taken.cowherd.map((item, turn) => item.wall / taken.hand[turn].wall))),
  });
  const share = taken.cowherd.map(({ guests, daemon, tool }) => (100 * tool) / (guests + daemon + tool));
  row(`cowherd's own share of it`, median(share), '%', 3, 'less');
  return taken;
}

/** The domain as cowherd defines it, with words in place of what is a member's own. */
async function template(run) {
  const { xml } = await run('template', 'render', fleet, '1');
  return xml
    .replace(/<name>[^<]+/, '<name>NAME')
    .replace(/<uuid>[^<]+/, '<uuid>UUID')
    .replace(/<metadata>.*<\/metadata>/s, '')
    .replace(/<source file="[^"]+overlays[^"]+"/, '<source file="DIR/NAME.qcow2"')
    .replace(/<source file="[^"]+seeds[^"]+"/, '<source file="DIR/NAME.iso"')
    .replace(/<log file="[^"]+"/, '<log file="DIR/NAME.log"')
    .replace(/127\.0\.0\.1:\d+-/, '127.0.0.1:PORT-')
    .replace(/mac=[0-9a-f:]{17}/, 'mac=MAC');
}
