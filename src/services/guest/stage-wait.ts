import { formatDuration } from '../../core/duration.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { ReadyStage } from '../../core/guest/stages.js';
import type { ProgressListener } from '../../core/progress.js';
import type { Ports } from '../../ports/index.js';
import type { WorkOptions } from '../fleet/access.js';
import { isAborted } from '../run/member-executor.js';

/** Waits for stages of many members at once, with one deadline, by probes of the engine. */

/** Poll interval per member with back-off, in milliseconds. */
const pause = { first: 250, most: 2_000, growth: 1.15 };
/** A console log is a local file, so polling is cheap. */
const consolePauseMs = 200;

export interface Seen {
  done: boolean;
  /** What is missing. */
  why: string;
}

/** Checks the readiness of one member. */
export interface Probe {
  /** The last line of its console, for messages. */
  lastLine(): Promise<string | undefined>;
  /** @param withinMs time limit for the check itself @throws NOT_READY if the stage can never be reached */
  look(stage: ReadyStage, withinMs: number, signal?: AbortSignal): Promise<Seen>;
}

export interface Late {
  stage: ReadyStage;
  error: CowherdError;
}

export interface StageWait {
  stages: readonly ReadyStage[];
  members: readonly MemberIdentity[];
  probeOf(member: MemberIdentity): Probe;
  /** Members that are stopped, and why. A member that stopped will never be ready, but no stage detects that. */
  stopped(): Promise<ReadonlyMap<string, string>>;
  /** Between two looks at a console, in milliseconds; default: that of a local file. */
  consoleMs?: number;
}

/** @returns the stage and reason of each member that did not become ready */
export async function waitForStages(
  { clock }: Pick<Ports, 'clock'>,
  { stages, members, probeOf, stopped, consoleMs = consolePauseMs }: StageWait,
  timeoutMs: number,
  { signal, onProgress }: WorkOptions,
): Promise<Map<string, Late>> {
  const deadline = clock.monotonic() + timeoutMs;
  const stuck: Stuck[] = [];
  const queue = new WaitingList(stages, members, onProgress);
  await Promise.all(
    members.map(async (member) => {
      const probe = probeOf(member);
      for (const stage of stages) {
        queue.moveTo(stage, member);
        const lack = await reach({ clock, consoleMs }, probe, stage, deadline, signal);
        if (lack === undefined) continue;
        stuck.push({ member, probe, stage, ...lack });
        if (!isAborted(signal)) queue.giveUp();
        return;
      }
      queue.release(member);
    }),
  );
  if (stuck.length === 0 || isAborted(signal)) return new Map();
  const off = await stopped().catch(() => new Map<string, string>());
  return new Map(
    await Promise.all(
      stuck.map(async (one): Promise<[string, Late]> => [one.member.name, await explain(one, off.get(one.member.name), timeoutMs)]),
    ),
  );
}

/** Reports the members that wait for each stage. */
class WaitingList {
  readonly #pending: Map<ReadyStage, Set<string>>;
  readonly #total: number;
  #done = 0;
  #failed = 0;

  constructor(
    wanted: readonly ReadyStage[],
    members: readonly MemberIdentity[],
    private readonly onProgress: ProgressListener | undefined,
  ) {
    this.#pending = new Map(wanted.map((stage) => [stage, new Set()]));
    this.#total = members.length;
    this.#tell();
  }

  moveTo(stage: ReadyStage, { name }: MemberIdentity): void {
    this.#remove(name);
    this.#pending.get(stage)?.add(name);
    this.#tell();
  }

  /** The member stays in the list at its stage. */
  giveUp(): void {
    this.#failed++;
    this.#tell();
  }

  release({ name }: MemberIdentity): void {
    this.#remove(name);
    this.#done++;
    this.#tell();
  }

  #remove(name: string): void {
    for (const names of this.#pending.values()) names.delete(name);
  }

  #tell(): void {
    const [done, total, failed, pending] = [this.#done, this.#total, this.#failed, this.#pending];
    this.onProgress?.({ kind: 'stage', stage: 'wait', done, total, failed, pending });
  }
}

/** @param stopped the reason if the member is stopped */
async function explain(
  { member: { name }, probe, stage, why, final }: Stuck,
  stopped: string | undefined,
  timeoutMs: number,
): Promise<Late> {
  if (final !== undefined) return { stage, error: final };
  const line = await probe.lastLine();
  const fleet = name.replace(/-\d+$/, '');
  return {
    stage,
    error: new CowherdError(
      'NOT_READY',
      `${name} did not reach stage ${stage} within ${formatDuration(timeoutMs)}: ${stopped === undefined ? why : `it is stopped (${stopped})`}`,
      {
        details: [line === undefined ? 'its console is empty' : `last line of its console: ${line}`],
        hint: `Allow more time with --timeout, or see its output: cowherd logs ${name}, cowherd status ${fleet}`,
      },
    ),
  };
}

interface Lack {
  why: string;
  /** The stage can never be reached. */
  final?: CowherdError;
}

interface Stuck extends Lack {
  member: MemberIdentity;
  probe: Probe;
  stage: ReadyStage;
}

/** @returns undefined once the stage is reached */
async function reach(
  { clock, consoleMs }: Pick<Ports, 'clock'> & { consoleMs: number },
  probe: Probe,
  stage: ReadyStage,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<Lack | undefined> {
  for (let wait = pause.first; ; wait = Math.min(pause.most, wait * pause.growth)) {
    let why: string;
    try {
      const seen = await probe.look(stage, Math.max(1, deadline - clock.monotonic()), signal);
      if (seen.done) return undefined;
      why = seen.why;
    } catch (error) {
      if (error instanceof CowherdError && error.code === 'NOT_READY') return { why: error.message, final: error };
      why = reportOf(error).message;
    }
    const left = deadline - clock.monotonic();
    if (left <= 0 || isAborted(signal)) return { why };
    await clock.sleep(Math.min(left, stage === 'console' ? consoleMs : wait), signal);
  }
}
