import type { AcceleratorAnswer, AcceleratorQuestion } from '../core/host/accelerator.js';
import type { AcceleratorChoice } from '../core/host/cpu.js';
import type { Ksm } from '../core/host/ksm.js';
import type { ProcessMemory } from '../core/host/process-memory.js';
import type { PathObstacle } from '../core/host/reachability.js';

export interface Clock {
  /** Milliseconds, monotonic. */
  monotonic(): number;
  /** Wall clock. */
  now(): Date;
  /** Resolves after the time or at once on abort; never rejects. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export interface DiskSpace {
  totalBytes: number;
  freeBytes: number;
}

/** A path that QEMU's user has to get to: a directory or a file that libvirt gives to it, or a file that it must be able to read as it is. */
export interface ReachTarget {
  path: string;
  needs: 'pass' | 'read';
}

export interface QemuProcess {
  pid: number;
  /** Ticks since boot: tells it from a later process with the same pid. */
  startTicks: number;
  /** ms since the epoch. */
  startedAt: number;
  /** What its command line gives the guest. */
  guestBytes: number | undefined;
}

/** Facts about the machine that cowherd runs on. */
export interface Machine {
  memory(): Promise<{ totalBytes: number; availableBytes: number }>;
  /** Of the file system that holds the nearest existing ancestor of the path. */
  diskSpace(path: string): Promise<DiskSpace>;
  /** Running QEMU processes, by domain UUID; what is not visible is left out. */
  qemuProcesses(): Promise<Map<string, QemuProcess>>;
  /** What they take, by pid; few at a time, since it costs the kernel a walk through all their pages. */
  processMemory(processes: readonly QemuProcess[]): Promise<Map<number, ProcessMemory>>;
  /** absent: the kernel has none, or does not show it here. */
  ksm(): Promise<Ksm | 'absent' | 'unreadable'>;
  /** All that keeps a user from these files and directories. What is not there yet is no obstacle, and neither is what has an ACL. */
  obstaclesFor(user: { uid: number; gid: number }, targets: readonly ReachTarget[]): Promise<PathObstacle[]>;
  /** What keeps this user from writing into a directory, or from making it; undefined where nothing does. */
  writeObstacle(directory: string): Promise<{ reason: string; isReadOnly: boolean } | undefined>;
  /** Files of a directory that belong to another user than it does; undefined where it is not there, or not to be seen. */
  strangersIn(directory: string): Promise<{ owner: string; files: string[] } | undefined>;
  isRoot(): boolean;
  userName(): string;
  groups(): Promise<string[]>;
  /** Who may open /dev/kvm; undefined where there is none. */
  kvmDevice(): Promise<{ mode: number; group: string } | undefined>;
  /** What stands behind the name of a network interface of this host. */
  linkKind(name: string): Promise<'bridge' | 'other' | 'absent'>;
  /** Whether nothing of this host listens on a TCP port of 127.0.0.1. */
  isPortFree(port: number): Promise<boolean>;
  /** Limits of the running libvirt daemon where they can be seen. */
  libvirtdLimits(): Promise<{ openFiles?: number; maxClients?: number; maxWorkers?: number }>;
}

/** Finds out which accelerator and which CPU guests really run with here. */
export interface AcceleratorProbe {
  /**
   * @param options.fresh probe again even if an answer is remembered, and forget what was refuted
   * @param options.onProbe called before a probe runs: it may take some seconds
   * @param options.isKept whether the store remembers the answer (true when left out); else only this process does
   * @throws ACCELERATOR_FAILED where nothing runs guests with the CPU that is asked for
   */
  choose(
    question: AcceleratorQuestion,
    options?: { fresh?: boolean; onProbe?: () => void; signal?: AbortSignal | undefined; isKept?: boolean },
  ): Promise<AcceleratorAnswer>;
  /** A guest did not start so: the remembered answer is dropped, and probes are not believed about this choice. */
  refute(question: AcceleratorQuestion, choice: AcceleratorChoice, why: string, options?: { isKept?: boolean }): Promise<void>;
}
