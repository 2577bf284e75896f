import { randomBytes } from 'node:crypto';
import { CowherdError, type ErrorReport } from '../core/errors.js';
import type { MemberOutcome, Outcome } from '../core/fleet/outcome.js';
import { parseWaitFor, type WaitFor } from '../core/guest/stages.js';
import { type Host, type HostOptions, openHost } from '../host.js';
import { type CheckpointOptions, checkpoint } from '../services/checkpoint/take.js';
import { type PowerOptions, start, stop } from '../services/fleet/power.js';
import { type ResetOptions, reset } from '../services/fleet/reset/reset.js';
import { type SpawnOptions, spawn } from '../services/fleet/spawn/spawn.js';
import { type FleetStatus, type StatusOptions, status } from '../services/fleet/status.js';
import { teardown } from '../services/fleet/teardown.js';
import { type CopyOutcome, type CopyRequest, copy } from '../services/guest/copy.js';
import { type ExecOptions, type ExecOutcome, exec } from '../services/guest/exec.js';
import { inventory } from '../services/guest/inventory.js';

/** A fleet as an object, for test suites: it is torn down when it goes out of scope. */

export interface FleetOptions extends HostOptions, Omit<SpawnOptions, 'fleet' | 'wait' | 'dryRun'> {
  /** Left out, it is a random name, so that two suites never meet. */
  name?: string | undefined;
  /** As `--wait`: `agent`, `ssh`, `agent,ssh`, `console=REGEX`, …; left out, nothing is waited for. */
  wait?: string | undefined;
  /** Leave the fleet as it is when it goes out of scope: it must have a name then. */
  keep?: boolean | undefined;
}

/** Where a member is, for whoever speaks to it. */
export interface FleetMember {
  index: number;
  name: string;
  uuid: string;
  mac: string;
  /** Reachable from this host; null where nothing leads to it. */
  host: string | null;
  /** Of its sshd, at host. */
  sshPort: number | null;
}

/**
 * Makes a fleet and waits for it.
 *
 * ```ts
 * await using fleet = await spawnFleet({ base: 'golden.qcow2', count: 3, spec: { seed: 'nocloud' }, wait: 'agent' });
 * const { members } = await fleet.exec(['hostname']);
 * ```
 * @throws PARTIAL where a member could not be made or did not get ready, with the reasons in its details. What was made by this
 * call is taken down again.
 */
export async function spawnFleet(options: FleetOptions): Promise<Fleet> {
  const { name, wait, keep = false, connect, store, sessions, timeoutMs, ...rest } = options;
  if (keep && name === undefined)
    throw new CowherdError('BAD_USAGE', 'A fleet that is kept needs a name', { hint: 'Give it one: { name: "lab", keep: true }.' });
  const host = await openHost({ connect, store, sessions });
  const fleet = name ?? `t-${randomBytes(5).toString('hex')}`;
  try {
    const isNew = !(await host.fleets.list()).includes(fleet);
    // It would go with its disks when this one goes out of scope.
    if (!isNew && !keep) {
      throw new CowherdError('BAD_USAGE', `There is a fleet ${fleet} already, and it would be torn down in the end`, {
        hint: 'Leave out the name, choose another one, or say keep: true.',
      });
    }
    try {
      const outcome = assertOutcome('spawn', await spawn(host, { ...rest, fleet, timeoutMs, wait: waitFor(wait) }));
      return new Fleet(host, fleet, outcome, keep, await membersOf(host, fleet, outcome.members));
    } catch (error) {
      // The reason is what the caller must hear, not that what is left could not be removed either.
      // A fleet that is locked is being made by somebody else.
      const isOurs = !(error instanceof CowherdError && error.code === 'LOCKED') && (await host.fleets.list()).includes(fleet);
      if (!keep && isOurs) await teardown(host, { fleet }).catch(() => undefined);
      throw error;
    }
  } catch (error) {
    await host.close();
    throw error;
  }
}

export class Fleet implements AsyncDisposable {
  /** For calls that have no method here. */
  readonly host: Host;
  readonly name: string;
  /** What spawn did. */
  readonly outcome: Outcome;
  readonly members: readonly FleetMember[];
  readonly #keep: boolean;
  #isOver = false;

  /** @internal */
  constructor(host: Host, name: string, outcome: Outcome, keep: boolean, members: readonly FleetMember[]) {
    this.host = host;
    this.name = name;
    this.outcome = outcome;
    this.members = members;
    this.#keep = keep;
  }

  /**
   * Runs a program in all members, or in some.
   * @returns what each said; a non-zero exit code is an answer
   */
  exec(command: readonly string[] | string, options: Omit<ExecOptions, 'fleet' | 'command'> = {}): Promise<ExecOutcome> {
    return exec(this.host, { ...options, fleet: this.name, command: typeof command === 'string' ? [command] : command });
  }

  /** Copies a file of this host into the members. @throws PARTIAL */
  async copyTo(local: string, remote: string, options: Partial<CopyRequest> = {}): Promise<CopyOutcome> {
    return assertCopy(await copy(this.host, { ...options, source: local, destination: `${this.name}:${remote}` }));
  }

  /** Fetches a file from each member into `directory/member/`. @throws PARTIAL */
  async copyFrom(remote: string, directory: string, options: Partial<CopyRequest> = {}): Promise<CopyOutcome> {
    return assertCopy(await copy(this.host, { ...options, source: `${this.name}:${remote}`, destination: directory }));
  }

  /** Freezes members, memory and disk, for `reset({ warm: true })`: between tests, ready guests in a second. */
  async checkpoint({ wait, ...options }: Omit<CheckpointOptions, 'fleet' | 'wait'> & { wait?: string } = {}): Promise<Outcome> {
    return assertOutcome('checkpoint', await checkpoint(this.host, { ...options, fleet: this.name, wait: waitFor(wait) }));
  }

  /** Puts members back to clean. @param wait as `--wait` @throws PARTIAL */
  async reset({ wait, ...options }: Omit<ResetOptions, 'fleet' | 'wait'> & { wait?: string } = {}): Promise<Outcome> {
    return assertOutcome('reset', await reset(this.host, { ...options, fleet: this.name, wait: waitFor(wait) }));
  }

  /** @throws PARTIAL */
  async stop(options: Omit<PowerOptions, 'fleet' | 'wait'> = {}): Promise<Outcome> {
    return assertOutcome('stop', await stop(this.host, { ...options, fleet: this.name }));
  }

  /** @throws PARTIAL */
  async start({ wait, ...options }: Omit<PowerOptions, 'fleet' | 'wait'> & { wait?: string } = {}): Promise<Outcome> {
    return assertOutcome('start', await start(this.host, { ...options, fleet: this.name, wait: waitFor(wait) }));
  }

  status(options?: StatusOptions): Promise<FleetStatus> {
    return status(this.host, this.name, options);
  }

  /** Takes the fleet down, unless it is kept, and closes the connection. The base image stays in the store. Twice is once. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    try {
      if (!this.#keep) assertOutcome('teardown', await teardown(this.host, { fleet: this.name }));
    } finally {
      await this.host.close();
    }
  }
}

function waitFor(text: string | undefined): WaitFor | undefined {
  return text === undefined ? undefined : parseWaitFor(text);
}

async function membersOf(host: Host, fleet: string, made: readonly MemberOutcome[]): Promise<FleetMember[]> {
  const places = new Map((await inventory(host, fleet)).members.map((member) => [member.name, member]));
  return made.map(({ index, name, uuid, mac }) => ({
    index,
    name,
    uuid,
    mac,
    host: places.get(name)?.host ?? null,
    sshPort: places.get(name)?.port ?? null,
  }));
}

function assertOutcome(verb: string, outcome: Outcome): Outcome {
  if (outcome.counts.failed > 0 || outcome.operation.interrupted) throw failureOf(verb, outcome);
  return outcome;
}

function failureOf(verb: string, { fleet, members, operation }: Outcome): CowherdError {
  if (operation.interrupted) return new CowherdError('INTERRUPTED', `The ${verb} of ${fleet} was interrupted`);
  const failed = members.filter((member) => member.outcome === 'failed');
  return partial(`The ${verb} of ${fleet} failed for ${failed.length} of ${members.length} members`, failed);
}

function assertCopy(outcome: CopyOutcome): CopyOutcome {
  const failed = outcome.members.filter((member) => !member.ok);
  if (failed.length === 0) return outcome;
  throw partial(`Copying failed for ${failed.length} of ${outcome.members.length} members of ${outcome.fleet}`, failed);
}

function partial(message: string, failed: ReadonlyArray<{ name: string; error?: ErrorReport }>): CowherdError {
  const hint = failed.find(({ error }) => error?.hint !== undefined)?.error?.hint;
  return new CowherdError('PARTIAL', message, {
    details: failed.slice(0, 10).map(({ name, error }) => `${name}: ${error?.message ?? 'no reason given'}`),
    ...(hint === undefined ? {} : { hint }),
  });
}
