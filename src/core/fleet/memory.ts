import type { ProcessMemory } from '../host/process-memory.js';
import type { DomainState } from './observation.js';

/** What one member's QEMU takes; null where it cannot be told. */
export interface MemberMemory {
  /** What the guest was given. */
  guestBytes: number;
  residentBytes: number | null;
  proportionalBytes: number | null;
  swapBytes: number | null;
  mergedBytes: number | null;
}

/** All members that are on together. A sum is of those who could be read, and null where that was nobody. */
export interface FleetMemory extends MemberMemory {
  /** Members that are on. */
  on: number;
  /** Those whose proportional memory could be read. */
  read: number;
  /** Why some could not be read, and what to do. */
  notes: string[];
}

/** A QEMU process, found for a member that is on; undefined where this user sees none. */
export interface SeenProcess {
  guestBytes: number | undefined;
  memory: ProcessMemory | undefined;
}

export type MemorySubject = { name: string; state: DomainState['state'] | undefined; process: SeenProcess | undefined };

/**
 * Judges what was read of a fleet's processes. Members that are off have no memory, and are left out.
 * @param guestBytes what the spec gives a guest, where its process does not say
 */
export function judgeFleetMemory(
  subjects: readonly MemorySubject[],
  guestBytes: number,
): { members: Map<string, MemberMemory>; fleet: FleetMemory } {
  const running = subjects.filter(({ state, process }) => process !== undefined || state === 'running' || state === 'paused');
  const members = new Map(
    running.map(({ name, process }) => {
      const { residentBytes, proportionalBytes, swapBytes, mergedBytes } = process?.memory ?? {};
      return [
        name,
        {
          guestBytes: process?.guestBytes ?? guestBytes,
          residentBytes: residentBytes ?? null,
          proportionalBytes: proportionalBytes ?? null,
          swapBytes: swapBytes ?? null,
          mergedBytes: mergedBytes ?? null,
        },
      ] as const;
    }),
  );
  const all = [...members.values()];
  const fleet: FleetMemory = {
    on: all.length,
    read: all.filter(({ proportionalBytes }) => proportionalBytes !== null).length,
    guestBytes: all.reduce((sum, member) => sum + member.guestBytes, 0),
    residentBytes: sumOf(all.map((member) => member.residentBytes)),
    proportionalBytes: sumOf(all.map((member) => member.proportionalBytes)),
    swapBytes: sumOf(all.map((member) => member.swapBytes)),
    mergedBytes: sumOf(all.map((member) => member.mergedBytes)),
    notes: notesOn(running),
  };
  return { members, fleet };
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
