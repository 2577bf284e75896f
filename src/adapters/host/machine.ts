import { access, constants, lstat, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type Ksm, readKsm } from '../../core/host/ksm.js';
import type { ProcessMemory } from '../../core/host/process-memory.js';
import type { PathObstacle } from '../../core/host/reachability.js';
import type { Architecture } from '../../core/image/catalog.js';
import type { DiskSpace, Machine, QemuProcess, ReachTarget } from '../../ports/machine.js';
import { runTool } from '../process.js';
import { findQemuProcesses, readProcessMemory } from '../qemu/processes.js';
import { groupNamesOf, userNameOf } from './accounts.js';
import { findObstacles } from './reachability.js';

export class LocalMachine implements Machine {
  /** @param roots where procfs and the files of KSM are */
  constructor(private readonly roots = { proc: '/proc', ksm: '/sys/kernel/mm/ksm' }) {}

  async memory(): Promise<{ totalBytes: number; availableBytes: number }> {
    const text = await readFile('/proc/meminfo', 'utf8');
    const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
    return { totalBytes: kib('MemTotal') * 1024, availableBytes: kib('MemAvailable') * 1024 };
  }

  architecture(): Architecture | undefined {
    return ({ x64: 'x86_64', arm64: 'aarch64' } as Partial<Record<NodeJS.Architecture, Architecture>>)[process.arch];
  }

  async diskSpace(path: string): Promise<DiskSpace> {
    const { blocks, bavail, bsize } = await statfs(await nearestExisting(path));
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  }

  qemuProcesses(): Promise<Map<string, QemuProcess>> {
    return findQemuProcesses(this.roots.proc);
  }

  async processMemory(processes: readonly QemuProcess[]): Promise<Map<number, ProcessMemory>> {
    return readProcessMemory(this.roots.proc, processes, await pageBytes());
  }

  async ksm(): Promise<Ksm | 'absent' | 'unreadable'> {
    const names = ['run', 'pages_shared', 'pages_sharing', 'ksm_zero_pages', 'full_scans'];
    const read = names.map(async (name) => [name, await readFile(join(this.roots.ksm, name), 'utf8').catch(() => '')] as const);
    if ((await stat(this.roots.ksm).catch(() => undefined)) === undefined) return 'absent';
    const size = await pageBytes();
    return (size === undefined ? undefined : readKsm(new Map(await Promise.all(read)), size)) ?? 'unreadable';
  }

  obstaclesFor(user: { uid: number; gid: number }, targets: readonly ReachTarget[]): Promise<PathObstacle[]> {
    return findObstacles(user, targets);
  }

  async writeObstacle(directory: string): Promise<{ reason: string; isReadOnly: boolean } | undefined> {
    const existing = await nearestExisting(directory);
    try {
      await access(existing, constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      const isReadOnly = (error as NodeJS.ErrnoException).code === 'EROFS';
      const reason = isReadOnly ? `${existing} is on a read-only file system` : `${existing} is not writable`;
      return { reason: existing === resolve(directory) ? reason : `${directory} does not exist, and ${reason}`, isReadOnly };
    }
  }

  isRoot(): boolean {
    return process.getuid?.() === 0;
  }

  hostName(): string {
    return hostname();
  }

  userName(): string {
    try {
      return userInfo().username;
    } catch {
      // A user without a passwd entry, as in a container.
      return String(process.getuid?.() ?? '');
    }
  }

  groups(): Promise<string[]> {
    return groupNamesOf(process.getgroups?.() ?? []);
  }

  async kvmDevice(): Promise<{ mode: number; group: string } | undefined> {
    const stats = await stat('/dev/kvm').catch(() => undefined);
    if (stats === undefined) return undefined;
    const [group = String(stats.gid)] = await groupNamesOf([stats.gid]);
    return { mode: stats.mode & 0o7777, group };
  }

  isPortFree(port: number): Promise<boolean> {
    return new Promise((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)));
    });
  }

  async linkKind(name: string): Promise<'bridge' | 'other' | 'absent'> {
    const isThere = (path: string): Promise<boolean> =>
      access(path).then(
        () => true,
        () => false,
      );
    const link = join('/sys/class/net', name);
    if (await isThere(join(link, 'bridge'))) return 'bridge';
    return (await isThere(link)) ? 'other' : 'absent';
  }

  async strangersIn(directory: string): Promise<{ owner: string; files: string[] } | undefined> {
    const own = await stat(directory).catch(() => undefined);
    if (own === undefined) return undefined;
    const names = await readdir(directory).catch(() => undefined);
    if (names === undefined) return undefined;
    const strangers = await Promise.all(
      names.map(async (name) => ((await lstat(join(directory, name)).catch(() => own)).uid === own.uid ? [] : [name])),
    );
    return { owner: (await userNameOf(own.uid)) ?? String(own.uid), files: strangers.flat().sort() };
  }

  async libvirtdLimits(): Promise<{ openFiles?: number; maxClients?: number; maxWorkers?: number }> {
    const { stdout } = await runTool('pidof', ['-s', 'libvirtd', 'virtqemud'], { acceptedExitCodes: [0, 1] }).catch(() => ({ stdout: '' }));
    const pid = stdout.trim();
    const limits = pid === '' ? '' : await readFile(`/proc/${pid}/limits`, 'utf8').catch(() => '');
    const openFiles = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
    const settings = await readFile('/etc/libvirt/libvirtd.conf', 'utf8').catch(() => '');
    const setting = (name: string, fallback: number): number =>
      Number(new RegExp(`^\\s*${name}\\s*=\\s*(\\d+)`, 'm').exec(settings)?.[1] ?? fallback);
    return {
      ...(Number.isNaN(openFiles) ? {} : { openFiles }),
      maxClients: setting('max_clients', 5000),
      maxWorkers: setting('max_workers', 20),
    };
  }
}

/** Page size of this kernel: 4096 on most machines, 65536 on some ARM and POWER. */
async function pageBytes(): Promise<number | undefined> {
  const { stdout } = await runTool('getconf', ['PAGESIZE']).catch(() => ({ stdout: '' }));
  return /^\d{4,7}$/.test(stdout.trim()) ? Number(stdout) : undefined;
}

async function nearestExisting(path: string): Promise<string> {
  for (let candidate = resolve(path); ; candidate = dirname(candidate)) {
    if ((await stat(candidate).catch(() => undefined)) !== undefined || candidate === dirname(candidate)) return candidate;
  }
}
