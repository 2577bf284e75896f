import { readdir, readFile } from 'node:fs/promises';

/** What a piece of work took, with the QEMU processes of domains that begin with a prefix, or with one of some, and libvirtd. */
export async function accounted(prefix, work) {
  const isGuest = ({ command }) => command.some((word) => [prefix].flat().some((one) => word.startsWith(`guest=${one}`)));
  const before = await daemonSeconds();
  // Of those that go on: what they had taken before is not of this work.
  const earlier = new Map((await processes()).filter(isGuest).map(({ pid, seconds }) => [pid, seconds]));
  const { wall_s: wall, cpu_s: tool } = await work();
  const daemon = (await daemonSeconds()) - before;
  const guests = (await processes()).filter(isGuest).reduce((sum, { pid, seconds }) => sum + seconds - (earlier.get(pid) ?? 0), 0);
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
      return { pid, command, seconds: (Number(fields[11]) + Number(fields[12])) / 100 };
    }),
  );
  return all.filter(({ seconds }) => !Number.isNaN(seconds));
}

export function round(number) {
  return Number(number.toFixed(2));
}

export function line({ wall, tool, daemon, guests }) {
  return `wall ${wall} s; CPU: guests ${guests} s, libvirt ${daemon} s, tool ${tool} s`;
}
