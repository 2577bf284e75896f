import { randomBytes } from 'node:crypto';
import { CowherdError, type ErrorReport } from '../core/errors.js';
import type { MemberOutcome, Outcome } from '../core/fleet/outcome.js';
import { parseWaitRequest, type WaitRequest } from '../core/guest/stages.js';
import { type Host, type HostOptions, openHost } from '../host.js';
import { type CheckpointOptions, checkpoint } from '../services/checkpoint/take.js';
import { type PowerOptions, start, stop } from '../services/fleet/power.js';
import type { ResetOptions } from '../services/fleet/reset/cold.js';
import { reset } from '../services/fleet/reset/reset.js';
import type { SpawnOptions } from '../services/fleet/spawn/input/options.js';
import { spawn } from '../services/fleet/spawn/spawn.js';
import { type FleetStatus, type StatusOptions, status } from '../services/fleet/status/status.js';
import { teardown } from '../services/fleet/teardown/teardown.js';
import { type CopyOutcome, type CopyRequest, copy } from '../services/guest/copy.js';
import { type ExecOptions, type ExecOutcome, exec } from '../services/guest/exec.js';
import { inventory } from '../services/guest/inventory.js';

/** A fleet as an object for test suites: it is removed when it goes out of scope. */

export interface FleetOptions extends HostOptions, Omit<SpawnOptions, 'fleet' | 'wait' | 'dryRun'> {
  /** Default: a random name, so that suites do not conflict. */
  name?: string | undefined;
  /** As `--wait`: `auto`, `agent`, `ssh`, `agent,ssh`, `console=REGEX`, …; default: do not wait. */
  wait?: string | undefined;
  /** Keep the fleet when it goes out of scope; requires a name. */
  keep?: boolean | undefined;
}

/** Identity and address of a member. */
export interface FleetMember {
  index: number;
  name: string;
  uuid: string;
  mac: string;
  /** Address as seen from this host; null if it cannot be reached. */
  host: string | null;
  /** Port of its sshd at `host`. */
  sshPort: number | null;
}

/** Creates a fleet and waits for it.
 *
 * ```ts
 * await using fleet = await spawnFleet({ base: 'golden.qcow2', count: 3, spec: { seed: 'nocloud' }, wait: 'agent' });
 * const { members } = await fleet.exec(['hostname']);
 * ```
 * @throws PARTIAL if a member could not be created or did not become ready; the details have the reasons. Everything that this call created
 * is removed.
 */
export async function spawnFleet(options: FleetOptions): Promise<Fleet> {
  const { name, wait, keep = false, connect, store, sessions, timeoutMs, ...rest } = options;
  if (keep && name === undefined)
    throw new CowherdError('BAD_USAGE', 'keep requires a name', { hint: 'Add a name: { name: "lab", keep: true }.' });
  const host = await openHost({ connect, store, sessions });
  const fleet = name ?? `t-${randomBytes(5).toString('hex')}`;
  try {
    const isNew = !(await host.fleets.list()).includes(fleet);
    // The existing fleet would be removed with its disks when this object goes out of scope.
    if (!isNew && !keep) {
      throw new CowherdError('BAD_USAGE', `Fleet ${fleet} already exists and would be removed at the end`, {
        hint: 'Omit the name, choose another one, or set keep: true.',
      });
    }
    try {
      const outcome = assertOutcome('spawn', await spawn(host, { ...rest, fleet, timeoutMs, wait: waitFor(wait) }));
      return new Fleet(host, fleet, outcome, keep, await membersOf(host, fleet, outcome.members));
    } catch (error) {
      // Report the original error, even if the cleanup also fails. A locked fleet is being created by another process.
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
  /** The outcome of spawn. */
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

  /** Runs a program in all or some members.
   * @returns the output of each member; a non-zero exit code is not an error
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

  /** Takes a checkpoint of memory and disk for `reset({ warm: true })`, which takes about a second. */
  async checkpoint({ wait, ...options }: Omit<CheckpointOptions, 'fleet' | 'wait'> & { wait?: string } = {}): Promise<Outcome> {
    return assertOutcome('checkpoint', await checkpoint(this.host, { ...options, fleet: this.name, wait: waitFor(wait) }));
  }

  /** Resets members. @param wait as `--wait` @throws PARTIAL */
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

  /** Removes the fleet, unless it is kept, and closes the connection. The base image stays in the store. Idempotent. */
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

function waitFor(text: string | undefined): WaitRequest | undefined {
  return text === undefined ? undefined : parseWaitRequest(text);
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
