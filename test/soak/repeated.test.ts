import { readdir, readFile, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Host, openHost } from '../../src/host.js';
import { reset } from '../../src/services/fleet/reset/reset.js';
import { spawn } from '../../src/services/fleet/spawn/spawn.js';
import { teardown } from '../../src/services/fleet/teardown/teardown.js';
import { guest, Lab, uri, virsh } from '../support/lab.js';

const factor = Number(process.env.COWHERD_SOAK ?? 1);
const members = 50;
const resets = Math.round(50 * factor);
const lives = Math.round(20 * factor);
/** Rounds until caches are filled and pools have reached their size. */
const warmUp = 10;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Possible leaks per round: of this fleet, of this process, and of libvirt's daemons, which other programs also use. */
describe('repeated commands leave nothing behind', () => {
  let lab: Lab;
  let host: Host;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    host = await openHost({ connect: uri, store: lab.store });
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
  });

  it(`${resets} resets of ${members} running members`, async () => {
    const fleet = lab.fleet('soak');
    await lab.ok('spawn', fleet, '--base', golden, '--count', String(members), ...guest, '--wait', 'console=^OK');
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    await rounds(`reset of ${members}`, resets, fleet, async () => {
      const { counts } = await reset(host, { fleet, signal });
      expect(counts).toMatchObject({ reset: members, started: members, failed: 0 });
    });
    console.log(`listeners left on the AbortSignal: ${listeners}`);
    expect(listeners).toBeLessThanOrEqual(0);
    await lab.ok('teardown', fleet, '--yes');
  });

  it(`${lives} spawns and teardowns of ${members} members`, async () => {
    const fleet = lab.fleet('lives');
    await rounds(`spawn and teardown of ${members}`, lives, fleet, async () => {
      const made = await spawn(host, { fleet, base: golden, count: members, spec: { memoryMiB: 16, network: 'none' } });
      expect(made.counts).toMatchObject({ created: members, failed: 0 });
      const gone = await teardown(host, { fleet });
      expect(gone.counts).toMatchObject({ removed: members, failed: 0 });
    });
    expect(await readdir(lab.path('fleets'))).toEqual([]);
  });

  async function rounds(what: string, count: number, fleet: string, work: () => Promise<void>): Promise<void> {
    const seen: Sample[] = [];
    const began = performance.now();
    for (let round = 0; round < count; round++) {
      await work();
      seen.push(await sample(fleet));
    }
    const seconds = (performance.now() - began) / 1000;
    const [first, last] = [seen[Math.min(warmUp, count - 2)], seen.at(-1)];
    if (first === undefined || last === undefined) throw new Error('too few rounds');
    console.log(`\n${what}: ${count} rounds, ${(seconds / count).toFixed(1)} s each\n${table(seen, first, last)}`);
    // The fleet's and the process's own files are exactly the same as before.
    for (const key of own) expect([key, last[key]]).toEqual([key, first[key]]);
    const later = seen.slice(Math.min(warmUp, count - 2));
    // The heap varies with garbage collection, and the daemons are shared, so the minimum of each half is compared. A leak of one
    // descriptor, thread or a few KiB per member and round would be many times the limit.
    const [early, late] = [later.slice(0, later.length >> 1), later.slice(later.length >> 1)];
    const lowest = (samples: readonly Sample[], of: (entry: Sample) => number): number => Math.min(...samples.map(of));
    expect(lowest(late, ({ heapKiB }) => heapKiB) - lowest(early, ({ heapKiB }) => heapKiB)).toBeLessThan(1024 + 20 * later.length);
    for (const key of theirs) {
      // Each guest of the host contributes, and their number varies.
      const perGuest = (entry: Sample): number => entry[key] / Math.max(members, entry.hostGuests);
      expect([key, lowest(late, perGuest) / lowest(early, perGuest)]).toEqual([key, expect.toSatisfy((ratio: number) => ratio < 1.5)]);
    }
  }

  interface Sample {
    storeFiles: number;
    tmpFiles: number;
    domains: number;
    guests: number;
    /** Of all users. */
    hostGuests: number;
    helpers: number;
    children: number;
    agentSockets: number;
    openFiles: number;
    heapKiB: number;
    libvirtdFiles: number;
    libvirtdThreads: number;
    libvirtdKiB: number;
    virtlogdFiles: number;
    virtlogdOurs: number;
    virtlogdKiB: number;
  }
  const own = ['storeFiles', 'tmpFiles', 'domains', 'guests', 'helpers', 'children', 'agentSockets', 'openFiles', 'virtlogdOurs'] as const;
  const theirs = ['libvirtdFiles', 'libvirtdThreads', 'libvirtdKiB', 'virtlogdFiles', 'virtlogdKiB'] as const;

  async function sample(fleet: string): Promise<Sample> {
    collect();
    const ours = (text: string): boolean => text.includes(fleet);
    const processes = await commands();
    const daemons = async (name: string) => Promise.all(processes.filter(({ comm }) => comm === name).map(({ pid }) => daemon(pid)));
    const sum = <K extends string>(entries: ReadonlyArray<Record<K, number>>, key: K): number =>
      entries.reduce((total, entry) => total + entry[key], 0);
    const [libvirtd, virtlogd] = [await daemons('libvirtd'), await daemons('virtlogd')];
    const listed = (path: string): Promise<string[]> => readdir(path).catch(() => []);
    return {
      storeFiles: (await listed(lab.store).then(() => readdir(lab.store, { recursive: true }))).length,
      tmpFiles: (await listed(tmpdir())).filter((name) => name.includes(lab.id)).length,
      domains: (await virsh('list', '--all', '--name')).split('\n').filter(ours).length,
      guests: processes.filter(({ line }) => line.includes('qemu-system') && ours(line)).length,
      hostGuests: processes.filter(({ line }) => line.includes('qemu-system')).length,
      helpers: processes.filter(({ comm, line }) => ['flock', 'swtpm', 'qemu-img'].includes(comm) && line.includes(lab.id)).length,
      children: processes.filter(({ parent }) => parent === process.pid).length,
      agentSockets: (
        await Promise.all(['/run/libvirt/qemu/channel', '/var/lib/libvirt/qemu/channel/target', '/var/lib/libvirt/qemu'].map(listed))
      )
        .flat()
        .filter((name) => name.includes(lab.id)).length,
      openFiles: (await readdir('/proc/self/fd')).length,
      heapKiB: process.memoryUsage().heapUsed / 1024,
      libvirtdFiles: sum(libvirtd, 'files'),
      libvirtdThreads: sum(libvirtd, 'threads'),
      libvirtdKiB: sum(libvirtd, 'kib'),
      virtlogdFiles: sum(virtlogd, 'files'),
      virtlogdOurs: virtlogd.flatMap(({ targets }) => targets).filter((target) => target.includes(lab.store)).length,
      virtlogdKiB: sum(virtlogd, 'kib'),
    };
  }

  async function commands(): Promise<Array<{ pid: number; parent: number; comm: string; line: string }>> {
    const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
    const found = await Promise.all(
      pids.map(async (pid) => {
        try {
          const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
          const [, comm = '', rest = ''] = /^\d+ \((.*)\) (.*)/s.exec(stat) ?? [];
          return [{ pid: Number(pid), parent: Number(rest.split(' ')[1]), comm, line: await readFile(`/proc/${pid}/cmdline`, 'utf8') }];
        } catch {
          return [];
        }
      }),
    );
    return found.flat();
  }

  async function daemon(pid: number): Promise<{ files: number; threads: number; kib: number; targets: string[] }> {
    try {
      const files = await readdir(`/proc/${pid}/fd`);
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      const number = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
      const targets = await Promise.all(files.map((file) => readlink(join(`/proc/${pid}/fd`, file)).catch(() => '')));
      return { files: files.length, threads: number('Threads'), kib: number('VmRSS'), targets };
    } catch {
      return { files: 0, threads: 0, kib: 0, targets: [] };
    }
  }

  function table(seen: readonly Sample[], first: Sample, last: Sample): string {
    const later = seen.slice(Math.min(warmUp, seen.length - 2));
    const lines = (Object.keys(last) as Array<keyof Sample>).map((key) =>
      [key.padEnd(16), first[key], last[key], slope(later.map((entry) => entry[key])).toFixed(2)]
        .map((cell) => (typeof cell === 'number' ? String(Math.round(cell)).padStart(10) : cell.padStart(10)))
        .join(''),
    );
    return [`${''.padEnd(16)}  warmed up      last  per round`, ...lines].join('\n');
  }
});

/** Slope of a least-squares line through the figures. */
function slope(figures: readonly number[]): number {
  const mean = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const [x, y] = [(figures.length - 1) / 2, mean(figures)];
  const over = figures.reduce((sum, figure, at) => sum + (at - x) * (figure - y), 0);
  const under = figures.reduce((sum, _, at) => sum + (at - x) ** 2, 0);
  return under === 0 ? 0 : over / under;
}
