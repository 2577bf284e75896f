import { readdir, readFile } from 'node:fs/promises';
import { round, type Usage } from './bench.js';

/** Seconds: wall time, and CPU time of the tool, of libvirt and of the guests. */
export interface Account {
  wall: number;
  tool: number;
  daemon: number;
  guests: number;
}

interface Process {
  pid: string;
  command: string[];
  seconds: number;
}

/** Measures work, including libvirtd and the QEMU processes of domains whose names begin with one of the prefixes. */
export async function accounted(prefixes: string | readonly string[], work: () => Promise<Usage>): Promise<Account> {
  const isGuest = ({ command }: Process): boolean =>
    command.some((word) => [prefixes].flat().some((prefix) => word.startsWith(`guest=${prefix}`)));
  const before = await daemonSeconds();
  // Exclude time that running guests used before.
  const earlier = new Map((await processes()).filter(isGuest).map(({ pid, seconds }) => [pid, seconds]));
  const { wall_s: wall, cpu_s: tool } = await work();
  const daemon = (await daemonSeconds()) - before;
  const guests = (await processes()).filter(isGuest).reduce((sum, { pid, seconds }) => sum + seconds - (earlier.get(pid) ?? 0), 0);
  return { wall, tool, daemon: round(daemon), guests: round(guests) };
}

async function daemonSeconds(): Promise<number> {
  const found = (await processes()).filter(({ command }) => /(^|\/)(libvirtd|virtqemud|virtlogd)$/.test(command[0] ?? ''));
  return found.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** User and system time of every process, without its children. */
async function processes(): Promise<Process[]> {
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

export function line({ wall, tool, daemon, guests }: Account): string {
  return `wall ${wall} s; CPU: guests ${guests} s, libvirt ${daemon} s, tool ${tool} s`;
}

/** CPU time of all processes involved. */
export function cpuSeconds({ guests, daemon, tool }: Account): number {
  return guests + daemon + tool;
}
