import type { ProcessMemory } from '../host/process-memory.js';
import type { DomainState } from './observation.js';

/** Memory of one member's QEMU; null if unknown. */
export interface MemberMemory {
  /** Memory of the guest. */
  guestBytes: number;
  residentBytes: number | null;
  proportionalBytes: number | null;
  swapBytes: number | null;
  mergedBytes: number | null;
  /** Pages that no other process has. */
  privateBytes: number | null;
}

/** All running members together. Sums cover the readable ones, and are null if there are none. */
export interface FleetMemory extends MemberMemory {
  /** Running members. */
  on: number;
  /** Members with readable proportional memory. */
  read: number;
  /** Clones that share the memory of their source VM; null if there are none. */
  shared: SharedMemory | null;
  /** Why some could not be read, and what to do. */
  notes: string[];
}

export interface SharedMemory {
  clones: number;
  /** Size of the memory that they share. */
  sharedBytes: number;
  /** What copies of it would take at least: its size for each. */
  copiesBytes: number;
}

/** The QEMU process of a running member; undefined if this user sees none. */
export interface SeenProcess {
  guestBytes: number | undefined;
  memory: ProcessMemory | undefined;
  /** Whether it maps the memory of its source VM. */
  isSharing?: boolean;
}

export type MemorySubject = { name: string; state: DomainState['state'] | undefined; process: SeenProcess | undefined };

/**
 * Summarizes the memory of a fleet's processes. Stopped members are skipped.
 * @param guestBytes guest memory from the spec, used if the process does not show it
 * @param sharedBytes the size of the memory that clones share
 */
export function judgeFleetMemory(
  subjects: readonly MemorySubject[],
  guestBytes: number,
  sharedBytes = 0,
): { members: Map<string, MemberMemory>; fleet: FleetMemory } {
  const running = subjects.filter(({ state, process }) => process !== undefined || state === 'running' || state === 'paused');
  const members = new Map(
    running.map(({ name, process }) => {
      const { residentBytes, proportionalBytes, swapBytes, mergedBytes, privateBytes } = process?.memory ?? {};
      return [
        name,
        {
          guestBytes: process?.guestBytes ?? guestBytes,
          residentBytes: residentBytes ?? null,
          proportionalBytes: proportionalBytes ?? null,
          swapBytes: swapBytes ?? null,
          mergedBytes: mergedBytes ?? null,
          privateBytes: privateBytes ?? null,
        },
      ] as const;
    }),
  );
  const all = [...members.values()];
  const clones = running.filter(({ process }) => process?.isSharing === true).length;
  const fleet: FleetMemory = {
    on: all.length,
    read: all.filter(({ proportionalBytes }) => proportionalBytes !== null).length,
    guestBytes: all.reduce((sum, member) => sum + member.guestBytes, 0),
    residentBytes: sumOf(all.map((member) => member.residentBytes)),
    proportionalBytes: sumOf(all.map((member) => member.proportionalBytes)),
    swapBytes: sumOf(all.map((member) => member.swapBytes)),
    mergedBytes: sumOf(all.map((member) => member.mergedBytes)),
    privateBytes: sumOf(all.map((member) => member.privateBytes)),
    shared: sharedMemory(clones, sharedBytes),
    notes: notesOn(running),
  };
  return { members, fleet };
}

/** @param clones running ones that share memory @param sharedBytes its size @returns null without clones */
export function sharedMemory(clones: number, sharedBytes: number): SharedMemory | null {
  return clones === 0 ? null : { clones, sharedBytes, copiesBytes: clones * sharedBytes };
}

function sumOf(counts: ReadonlyArray<number | null>): number | null {
  const known = counts.filter((count) => count !== null);
  return known.length === 0 ? null : known.reduce((sum, count) => sum + count, 0);
}

function notesOn(running: readonly MemorySubject[]): string[] {
  const reasonOf = ({ process }: MemorySubject): string | undefined => (process === undefined ? 'unseen' : process.memory?.unread);
  const count = (reason: string): number => running.filter((subject) => reasonOf(subject) === reason).length;
  const [denied, unseen, ended, unsupported] = [count('denied'), count('unseen'), count('ended'), count('not supported')];
  return [
    ...(denied > 0
      ? [
          `${members(denied)}: QEMU runs as another user, and the kernel shows its proportional memory only to that user and to root. Run the command as root`,
        ]
      : []),
    ...(unseen > 0 ? [`${members(unseen)}: no QEMU process is visible (/proc with hidepid, a container, or it has just ended)`] : []),
    ...(ended > 0 ? [`${members(ended)}: ended during the check. Run the command again`] : []),
    ...(unsupported > 0
      ? [`${members(unsupported)}: this kernel does not report proportional memory (smaps_rollup came with Linux 4.14)`]
      : []),
  ];
}

function members(count: number): string {
  return `${count} member${count === 1 ? '' : 's'}`;
}
