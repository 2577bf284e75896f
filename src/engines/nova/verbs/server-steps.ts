import { CowherdError, reportOf } from '../../../core/errors.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import type { StepName } from '../../../core/fleet/plan/member-plan.js';
import type { Performer } from '../../../services/run/member-executor.js';
import { Settler, type SettlerOptions } from '../api/settler.js';
import type { NovaContext } from '../context.js';
import { fleetTag } from '../core/member-tags.js';
import { isDeleting, type NovaMember, neverRan } from '../core/members.js';
import type { NewServer } from '../core/new-server.js';
import type { Server } from '../core/servers.js';
import type { Task } from '../core/settling.js';

export interface StepSettings {
  fleet: string;
  /** The members and their servers, by name. */
  before: ReadonlyMap<string, NovaMember>;
  /** Required by plans with create steps. */
  newServer?: (member: MemberIdentity) => NewServer;
  /** Id of the image that a rebuild step uses. Default: the image of each server. */
  imageId?: string;
  /** Whether a delete step removes all servers of the member, and not only those that are in the way. */
  deletesAll?: boolean;
  /** Whether to write finished members to the operation's log. */
  journaled: boolean;
  settling?: Partial<SettlerOptions>;
  signal?: AbortSignal | undefined;
}

type ServerRef = Pick<Server, 'id' | 'name'>;

/** How often a deletion is requested again if nothing changes. */
const mostDeletions = 3;

/** Performs the steps of members as tasks of the cloud. Each step ends when its task has settled, and can be repeated. */
export class ServerSteps implements Performer<MemberIdentity> {
  /** The server of each member, by its name: also those that were created by a step. */
  readonly servers = new Map<string, ServerRef>();
  readonly #settler: Settler;

  constructor(
    private readonly context: NovaContext,
    private readonly settings: StepSettings,
  ) {
    const { cloud, ports } = context;
    this.#settler = new Settler(cloud.servers, ports.clock, {
      tag: fleetTag(settings.fleet),
      signal: settings.signal,
      ...settings.settling,
    });
    for (const [name, { server }] of settings.before) if (server !== undefined) this.servers.set(name, server);
  }

  async step(step: StepName, member: MemberIdentity): Promise<void> {
    if (step === 'create') return this.#create(member);
    if (step === 'delete') return this.#delete(member);
    const server = this.servers.get(member.name);
    if (server === undefined) throw new Error(`${member.name} has no server to ${step}`);
    if (step === 'rebuild') return this.#rebuild(member, server);
    if (step === 'start') return this.#begin('start', server, { kind: 'start' }, member);
    if (step === 'shutdown') return this.#begin('stop', server, { kind: 'stop' }, member);
    throw new Error(`no way to ${step} was prepared`);
  }

  async finish({ index }: MemberIdentity): Promise<void> {
    if (this.settings.journaled) await this.context.ports.fleets.markDone(this.settings.fleet, index);
  }

  async failed({ index }: MemberIdentity, error: unknown): Promise<void> {
    const { fleets } = this.context.ports;
    // Only for display: another error must not hide the first one.
    if (this.settings.journaled) await fleets.markFailed(this.settings.fleet, index, reportOf(error).code).catch(() => undefined);
  }

  async #create(member: MemberIdentity): Promise<void> {
    const { newServer, before } = this.settings;
    if (newServer === undefined) throw new Error('no server was prepared');
    const seen = before.get(member.name)?.server;
    // A killed run has created it, and it is not finished.
    const isBegun = seen !== undefined && seen.status === 'BUILD' && !isDeleting(seen);
    const server = newServer(member);
    // An earlier server of this name had host keys of its own.
    if (!isBegun) await this.context.ports.seeds.forgetLearnedHost(this.settings.fleet, member.name);
    const { id } = isBegun ? seen : await this.context.cloud.servers.create(server);
    this.servers.set(member.name, { id, name: server.name });
    await this.#settled({ id, name: server.name }, { kind: 'create' }, member);
  }

  async #rebuild(member: MemberIdentity, server: ServerRef): Promise<void> {
    const seen = this.settings.before.get(member.name)?.server;
    const imageId = this.settings.imageId ?? seen?.imageId ?? '';
    // A killed run may have begun it. Nova starts a server in state ERROR.
    const endsIn = seen?.status === 'SHUTOFF' ? 'SHUTOFF' : seen?.taskState === null ? 'ACTIVE' : 'either';
    const task: Task = { kind: 'rebuild', imageId, endsIn };
    // A stop by a user, or the end of a killed run's rebuild: it does not say whether the disk is fresh, and allows no rebuild.
    if (seen?.taskState === 'powering-off') await this.#settler.settle(server.id, { kind: 'stop' });
    await this.context.cloud.servers.rebuild(server, task);
    await this.#settled(server, task, member);
    // The guest's own host keys are lost with the old disk.
    await this.context.ports.seeds.forgetLearnedHost(this.settings.fleet, member.name);
  }

  async #begin(verb: 'start' | 'stop', server: ServerRef, task: Task, member: MemberIdentity): Promise<void> {
    await this.context.cloud.servers[verb](server);
    await this.#settled(server, task, member);
  }

  async #delete(member: MemberIdentity): Promise<void> {
    for (const server of this.#doomed(member)) {
      for (let number = 1; ; number++) {
        if ((await this.context.cloud.servers.delete(server)) === 'gone') break;
        const { state } = await this.#settler.settle(server.id, { kind: 'delete' });
        if (state === 'settled') break;
        if (number === mostDeletions) throw notDeleted(member, server);
      }
      if (this.servers.get(member.name)?.id === server.id) this.servers.delete(member.name);
    }
  }

  #doomed({ name }: MemberIdentity): readonly Server[] {
    const { server, extra = [] } = this.settings.before.get(name) ?? {};
    const isInTheWay = server !== undefined && (this.settings.deletesAll === true || neverRan(server) || isDeleting(server));
    return isInTheWay ? [server, ...extra] : extra;
  }

  async #settled(server: ServerRef, task: Task, { name }: MemberIdentity): Promise<void> {
    const verdict = await this.#settler.settle(server.id, task);
    if (verdict.state === 'settled' || verdict.state === 'working') return;
    throw taskFailed(name, server, task, verdict);
  }
}

const doneWords: Record<Task['kind'], string> = {
  create: 'created',
  rebuild: 'rebuilt',
  start: 'started',
  stop: 'stopped',
  delete: 'deleted',
};

function taskFailed(
  name: string,
  { id }: ServerRef,
  { kind }: Task,
  { state, reason }: { state: 'failed' | 'stuck'; reason: string },
): CowherdError {
  const fleet = name.replace(/-\d+$/, '');
  const again = kind === 'create' ? `cowherd spawn ${fleet} replaces servers that got no host` : `cowherd status ${fleet} shows its state`;
  return new CowherdError(state === 'stuck' ? 'TOOL_TIMEOUT' : 'TOOL_FAILED', `${name} could not be ${doneWords[kind]}: ${reason}`, {
    hint: `See why: openstack server show ${id}. Then: ${again}.`,
  });
}

function notDeleted({ name }: MemberIdentity, { id }: ServerRef): CowherdError {
  return new CowherdError('TOOL_TIMEOUT', `The server of ${name} was not deleted, although that was requested ${mostDeletions} times`, {
    hint: `See its task: openstack server show ${id}. Run the command again later, or ask the operator of the cloud to reset its state.`,
  });
}
