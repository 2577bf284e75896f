import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

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

/** What a piece of work took, with the QEMU processes of domains that begin with a prefix, and libvirtd. */
async function accounted(prefix, work) {
  const before = await daemonSeconds();
  const { wall_s: wall, cpu_s: tool } = await work();
  const daemon = (await daemonSeconds()) - before;
  const guests = (await processes())
    .filter(({ command }) => command.some((word) => word.startsWith(`guest=${prefix}`)))
    .reduce((sum, { seconds }) => sum + seconds, 0);
  return { wall, tool, daemon: round(daemon), guests: round(guests) };
}

async function daemonSeconds() {
  const found = (await processes()).filter(({ command }) => /(^|\/)(libvirtd|virtqemud|virtlogd)$/.test(command[0] ?? ''));
  return found.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** User and system time of every process, without its children. */
async function processes() {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const all = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return { command, seconds: (Number(fields[11]) + Number(fields[12])) / 100 };
    }),
  );
  return all.filter(({ seconds }) => !Number.isNaN(seconds));
}

function line({ wall, tool, daemon, guests }) {
  return `wall ${wall} s; CPU: guests ${guests} s, libvirt ${daemon} s, tool ${tool} s`;
}

function round(number) {
  return Number(number.toFixed(2));
}
