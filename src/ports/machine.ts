import type { AcceleratorAnswer, AcceleratorQuestion } from '../core/host/accelerator.js';
import type { AcceleratorChoice } from '../core/host/cpu.js';
import type { Ksm } from '../core/host/ksm.js';
import type { ProcessMemory } from '../core/host/process-memory.js';
import type { PathObstacle } from '../core/host/reachability.js';
import type { Architecture } from '../core/image/catalog.js';

export interface Clock {
  /** Milliseconds, monotonic. */
  monotonic(): number;
  /** Wall clock. */
  now(): Date;
  /** Resolves after the time, or at once on abort; never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export interface DiskSpace {
  totalBytes: number;
  freeBytes: number;
}

/** A path that QEMU's user must reach. pass: libvirt sets its owner. read: it must be readable as it is. */
export interface ReachTarget {
  path: string;
  needs: 'pass' | 'read';
}

export interface QemuProcess {
  pid: number;
  /** Start time in ticks since boot, to detect a later process with the same pid. */
  startTicks: number;
  /** ms since the epoch. */
  startedAt: number;
  /** Guest memory from its command line. */
  guestBytes: number | undefined;
  /** Whether it maps the memory of a source VM. */
  isSharing: boolean;
}

/** Facts about this host. */
export interface Machine {
  /** Of this host; undefined if the catalog has no images for it. */
  architecture(): Architecture | undefined;
  memory(): Promise<{ totalBytes: number; availableBytes: number }>;
  /** Space on the file system of the path, or of its nearest existing parent. */
  diskSpace(path: string): Promise<DiskSpace>;
  /** Running QEMU processes by domain UUID, as far as they are visible. */
  qemuProcesses(): Promise<Map<string, QemuProcess>>;
  /** Memory use by pid; reads only a few at a time, since the kernel walks all their page tables. */
  processMemory(processes: readonly QemuProcess[]): Promise<Map<number, ProcessMemory>>;
  /** absent: the kernel has no KSM or does not show it. */
  ksm(): Promise<Ksm | 'absent' | 'unreadable'>;
  /** Obstacles for a user on the way to these files and directories. Missing paths and paths with an ACL are no obstacles. */
  obstaclesFor(user: { uid: number; gid: number }, targets: readonly ReachTarget[]): Promise<PathObstacle[]>;
  /** Why this user cannot write to a directory or create it; undefined if it can. */
  writeObstacle(directory: string): Promise<{ reason: string; isReadOnly: boolean } | undefined>;
  /** Files of a directory with another owner than the directory; undefined if it is missing or not visible. */
  strangersIn(directory: string): Promise<{ owner: string; files: string[] } | undefined>;
  isRoot(): boolean;
  userName(): string;
  hostName(): string;
  groups(): Promise<string[]>;
  /** Mode and group of /dev/kvm; undefined if it does not exist. */
  kvmDevice(): Promise<{ mode: number; group: string } | undefined>;
  /** The kind of a network interface of this host. */
  linkKind(name: string): Promise<'bridge' | 'other' | 'absent'>;
  /** Whether no process listens on a TCP port of 127.0.0.1. */
  isPortFree(port: number): Promise<boolean>;
  /** Limits of the running libvirt daemon, as far as they are visible. */
  libvirtdLimits(): Promise<{ openFiles?: number; maxClients?: number; maxWorkers?: number }>;
}

/** Finds the accelerator and CPU that guests can use on this host. */
export interface AcceleratorProbe {
  /**
   * @param options.fresh ignore cached and refuted results
   * @param options.onProbe called before a probe, which may take some seconds
   * @param options.isKept whether to cache the result in the store (default) or only in this process
   * @throws ACCELERATOR_FAILED if no accelerator can run guests with the requested CPU
   */
  choose(
    question: AcceleratorQuestion,
    options?: { fresh?: boolean; onProbe?: () => void; signal?: AbortSignal | undefined; isKept?: boolean },
  ): Promise<AcceleratorAnswer>;
  /** Records that a guest did not start with this choice: drops the cached result and ignores probes for it. */
  refute(question: AcceleratorQuestion, choice: AcceleratorChoice, why: string, options?: { isKept?: boolean }): Promise<void>;
}
