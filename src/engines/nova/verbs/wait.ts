import pLimit, { type LimitFunction } from 'p-limit';
import { CowherdError } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import { isAutoWait, type ReadyStage, type WaitFor, type WaitRequest } from '../../../core/guest/stages.js';
import { excerpt, excerptLines } from '../../../core/guest/text.js';
import type { WorkOptions } from '../../../services/fleet/access.js';
import { type Late, type Probe, type Seen, waitForStages } from '../../../services/guest/stage-wait.js';
import { CachedPoll } from '../../../services/run/cached-poll.js';
import type { NovaContext } from '../context.js';
import { whyNoAddress } from '../core/addresses.js';
import { fleetTag } from '../core/member-tags.js';
import { type NovaMember, observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';
import { NovaEndpoints } from './guests.js';

type Context = Pick<NovaContext, 'cloud' | 'ports'>;

/** How long one list of the servers serves all members, in ms. */
const listServesMs = 1_000;
/** Between two looks at a console, in ms: each one is a request, and work for the server's host. */
const consoleMs = 2_000;
/** Consoles that are read at the same time, and connection attempts to guests. */
const [consoleReaders, connections] = [4, 32];
const consoleLines = 500;
const keptCharacters = 64 * 1024;
const bannerMs = 3_000;
/** For reading the consoles of all members that are late, to quote their last lines. */
const lastLinesMs = 5_000;

/** @returns the same stages @throws NOT_SUPPORTED if no member of a cloud can reach one of them in a way that can be seen */
export function assertNovaWaitable(wait: WaitRequest | undefined): WaitFor | undefined {
  if (isAutoWait(wait)) {
    throw new CowherdError('NOT_SUPPORTED', '"--wait auto" is not possible on OpenStack: images of the cloud name no stage', {
      hint: 'Wait for ssh (--wait ssh), or for a line of the console (--wait "console=REGEX").',
    });
  }
  const stage = wait?.stages.find((one) => one === 'agent' || one === 'cloud-init');
  if (stage === undefined) return wait;
  const why = stage === 'agent' ? 'passes no commands to guest agents' : 'does not say when cloud-init has finished';
  throw new CowherdError('NOT_SUPPORTED', `"--wait ${stage}" is not possible on OpenStack: the Compute API ${why}`, {
    hint: 'Wait for ssh (--wait ssh), or for a line of the console (--wait "console=REGEX").',
  });
}

/**
 * Waits until members are ready: all at once with one deadline, and with one list request per second for all of them.
 *
 * A console counts only while its server is ACTIVE without a task, in a list that was requested after the wait began. Nova starts a new
 * log with every start and every rebuild, before it ends the task, so that a match is never from an earlier boot. An exception are logs
 * of more than 2 MiB: the host keeps their older part, and Nova returns its end in front of a new log that is short.
 * @param options.members who are waited for; their tasks have been accepted
 * @returns the stage and reason of each member that did not become ready
 */
export async function waitForMembers(
  context: Context,
  record: FleetRecord,
  { wait, members, timeoutMs, work }: { wait: WaitFor; members: readonly MemberIdentity[]; timeoutMs: number; work: WorkOptions },
): Promise<Map<string, Late>> {
  assertNovaWaitable(wait);
  const { cloud, ports } = context;
  // A request that hangs must not outlast the wait.
  const end = AbortSignal.timeout(timeoutMs);
  const signal = work.signal === undefined ? end : AbortSignal.any([work.signal, end]);
  const servers = new CachedPoll(ports.clock, listServesMs, async () => {
    const observed = observeServers(record, await cloud.servers.list([fleetTag(record.name)], { signal }));
    return new Map(observed.members.map((member) => [member.name, member]));
  });
  const shared: Shared = {
    ...{ context, wait, servers, signal, consoles: pLimit(consoleReaders), connections: pLimit(connections) },
    lastLines: once(() => AbortSignal.timeout(lastLinesMs)),
    endpoints: new NovaEndpoints(context, record, async ({ name }) => (await servers.get()).get(name)?.server),
  };
  return waitForStages(
    ports,
    {
      stages: wait.stages,
      members,
      probeOf: (member) => new NovaProbe(shared, member),
      stopped: async () => stoppedIn(await servers.get()),
      consoleMs,
    },
    timeoutMs,
    work,
  );
}

function stoppedIn(members: ReadonlyMap<string, NovaMember>): Map<string, string> {
  return new Map(
    [...members].flatMap(([name, { server }]): Array<[string, string]> => {
      const isStopped = server !== undefined && server.status !== 'ACTIVE' && server.status !== 'BUILD' && server.taskState === null;
      return isStopped ? [[name, excerpt(server.status)]] : [];
    }),
  );
}

/** What the members share. */
interface Shared {
  context: Context;
  wait: WaitFor;
  servers: CachedPoll<ReadonlyMap<string, NovaMember>>;
  endpoints: NovaEndpoints;
  consoles: LimitFunction;
  connections: LimitFunction;
  /** Aborted at the end of the wait. */
  signal: AbortSignal;
  /** Aborted when the time for quoting last lines is over; it begins with the first call. */
  lastLines(): AbortSignal;
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** Checks the readiness of one member. */
class NovaProbe implements Probe {
  /** The last output that was seen. */
  #seen: string | undefined;

  constructor(
    private readonly shared: Shared,
    private readonly member: MemberIdentity,
  ) {}

  async lastLine(): Promise<string | undefined> {
    // Only a quotation: without it, the member is late all the same.
    if (this.#seen === undefined) await this.#readConsole(this.shared.lastLines()).catch(() => undefined);
    return this.#seen === undefined ? undefined : excerptLines(this.#seen, 1)[0];
  }

  async look(stage: ReadyStage): Promise<Seen> {
    const server = await this.#server();
    const isRunning = runningState(this.member, server);
    if (!isRunning.done || server === undefined) return isRunning;
    switch (stage) {
      case 'console':
        return this.#lookAtConsole();
      case 'address':
        return (await this.shared.endpoints.host(this.member)) === undefined ? { done: false, why: whyNoAddress(server) } : isRunning;
      case 'ssh':
        return this.#lookForSsh(server);
      default:
        return isRunning;
    }
  }

  async #server(): Promise<Server | undefined> {
    return (await this.shared.servers.get()).get(this.member.name)?.server;
  }

  async #readConsole(signal: AbortSignal): Promise<void> {
    const { context, consoles } = this.shared;
    const server = await this.#server();
    if (server === undefined) return;
    const text = await consoles(() => context.cloud.servers.console(server, consoleLines, { signal }));
    this.#seen = text?.slice(-keptCharacters) ?? this.#seen;
  }

  async #lookAtConsole(): Promise<Seen> {
    const { pattern } = this.shared.wait;
    const { signal } = this.shared;
    await this.#readConsole(signal).catch((error: unknown) => {
      // At the end of the wait, what was seen last counts.
      if (!signal.aborted) throw error;
    });
    if (pattern?.test(this.#seen ?? '')) return { done: true, why: '' };
    return { done: false, why: `its console output does not match ${pattern}` };
  }

  async #lookForSsh(server: Server): Promise<Seen> {
    const { context, endpoints, connections: attempts } = this.shared;
    const where = await endpoints.host(this.member);
    if (where === undefined) return { done: false, why: whyNoAddress(server) };
    const isUp = await attempts(() => context.ports.remote.answers(where.host, where.port, bannerMs));
    return isUp ? { done: true, why: '' } : { done: false, why: `no answer from sshd at ${where.host} port ${where.port}` };
  }
}

/** @throws NOT_READY if the cloud has given up the server */
function runningState({ name }: MemberIdentity, server: Server | undefined): Seen {
  if (server === undefined) return { done: false, why: 'it has no server' };
  const { status, taskState, fault } = server;
  if (status === 'ERROR' && taskState === null) {
    throw new CowherdError('NOT_READY', `The server of ${name} is in state ERROR${fault === undefined ? '' : `: ${excerpt(fault)}`}`, {
      hint: `See what the cloud says about it: openstack server show ${server.id}. To replace its disk: cowherd reset ${name.replace(/-\d+$/, '')} ${name}`,
    });
  }
  if (status === 'ACTIVE' && taskState === null) return { done: true, why: '' };
  return { done: false, why: `its server is ${excerpt(status)}${taskState === null ? '' : ` (${excerpt(taskState)})`}` };
}
