import type { MemberPlan, Plan, StepName } from '../../../core/fleet/plan/member-plan.js';
import type { StartPolicy } from '../../../core/fleet/plan/plan.js';
import { excerpt } from '../../../core/guest/text.js';
import { isDeleting, type NovaMember, neverRan } from './members.js';
import type { Server } from './servers.js';

/** Plans of the commands: from the servers as they are to the intended ones. */

type Refusal = Plan['refused'][number];
type Decision = Pick<MemberPlan, 'steps' | 'why'> | { reason: string; hint: string } | undefined;

function planOf(members: readonly NovaMember[], decide: (member: NovaMember) => Decision): Plan {
  const plan: Plan = { members: [], unchanged: [], refused: [] };
  for (const member of members) {
    const { index, name } = member;
    const decision = decide(member);
    if (decision === undefined) plan.unchanged.push(name);
    else if ('reason' in decision) plan.refused.push({ name, ...decision } satisfies Refusal);
    else plan.members.push({ index, name, ...decision, atNextStart: false });
  }
  return plan;
}

/** What is missing is created, what is stopped is started. Servers that never got a host are created again. */
export function planSpawn(members: readonly NovaMember[], { start }: { start: boolean }): Plan {
  const stop: StepName[] = start ? [] : ['shutdown'];
  return planOf(members, ({ server, extra, name }) => {
    const surplus: StepName[] = extra.length > 0 ? ['delete'] : [];
    if (server === undefined) return { steps: ['create', ...stop], why: 'no server' };
    if (neverRan(server)) return { steps: ['delete', 'create', ...stop], why: 'its server got no host' };
    if (isDeleting(server)) return { steps: ['delete', 'create', ...stop], why: 'its server is being deleted' };
    if (server.status === 'BUILD') return { steps: [...surplus, 'create', ...stop], why: 'its server is being created' };
    if (server.status === 'ERROR') return inError(name, server);
    // With a task, too: starting waits for one that starts it, and fails because of another one.
    const isOff = isStopping(server) || server.status === 'SHUTOFF';
    if (start && isOff && server.isLocked) return locked(name, server);
    if (start && isStopping(server)) return { steps: [...surplus, 'shutdown', 'start'], why: 'being stopped' };
    if (start && server.status === 'SHUTOFF') return { steps: [...surplus, 'start'], why: 'stopped' };
    if (surplus.length > 0) return { steps: surplus, why: 'created twice' };
    return undefined;
  });
}

export interface RebuildPolicy {
  start: StartPolicy;
  /** Indexes of members that ran when the command began: see {@link notStopped}. */
  wasOn: ReadonlySet<number>;
  why: string;
}

/** Indexes of members that run after a rebuild that keeps their state: also those in state ERROR, since the cloud starts them. */
export function notStopped(members: readonly NovaMember[]): number[] {
  return members.filter(({ server }) => server !== undefined && server.status !== 'SHUTOFF').map(({ index }) => index);
}

/** A rebuild keeps the state: a stopped server boots briefly and is stopped again. */
export function planRebuild(members: readonly NovaMember[], { start, wasOn, why }: RebuildPolicy): Plan {
  return planOf(members, ({ server, index, name }) => {
    if (server === undefined || neverRan(server) || isDeleting(server)) return noServer(name);
    if (server.isLocked) return locked(name, server);
    if (server.imageId === undefined) return bootsFromVolume(server);
    if (!canRebuild.has(server.status)) return inOtherState(name, server);
    const runs = start === 'all' || (start === 'same' && wasOn.has(index));
    // With a task, e.g. the rebuild of a killed run, it is not known how it ends.
    const isIn = (status: string): boolean => server.status === status && server.taskState === null;
    const after: StepName[] = runs && !isIn('ACTIVE') && !isIn('ERROR') ? ['start'] : !runs && !isIn('SHUTOFF') ? ['shutdown'] : [];
    return { steps: ['rebuild', ...after], why };
  });
}

export function planPower(members: readonly NovaMember[], verb: 'start' | 'stop'): Plan {
  return planOf(members, ({ server, name }) => {
    if (server === undefined || neverRan(server)) return noServer(name);
    if (server.status === 'ERROR') return inError(name, server);
    const decision = verb === 'start' ? toStart(name, server) : toStop(name, server);
    return server.isLocked && decision !== undefined && 'steps' in decision ? locked(name, server) : decision;
  });
}

function toStart(name: string, server: Server): Decision {
  if (isStopping(server)) return { steps: ['shutdown', 'start'], why: 'being stopped' };
  if (server.status === 'ACTIVE') return undefined;
  return server.status === 'SHUTOFF' ? { steps: ['start'], why: 'stopped' } : inOtherState(name, server);
}

function toStop(name: string, server: Server): Decision {
  if (server.status === 'SHUTOFF' && server.taskState === 'powering-on') return { steps: ['start', 'shutdown'], why: 'being started' };
  if (server.status === 'SHUTOFF') return undefined;
  return server.status === 'ACTIVE' ? { steps: ['shutdown'], why: 'running' } : inOtherState(name, server);
}

/** The step that waits for the opposite task comes first. */
function isStopping({ status, taskState }: Pick<Server, 'status' | 'taskState'>): boolean {
  return status === 'ACTIVE' && taskState === 'powering-off';
}

export function planTeardown(members: readonly NovaMember[]): Plan {
  return planOf(members, ({ server, name }) => {
    if (server?.isLocked === true) return locked(name, server);
    return { steps: ['delete'], why: 'teardown' };
  });
}

const canRebuild: ReadonlySet<string> = new Set(['ACTIVE', 'SHUTOFF', 'ERROR', 'REBUILD']);

function fleetOf(name: string): string {
  return name.replace(/-\d+$/, '');
}

function noServer(name: string): Decision {
  return { reason: 'it has no server', hint: `Create it: cowherd spawn ${fleetOf(name)}` };
}

function inError(name: string, { fault }: Server): Decision {
  return {
    reason: `its server is in state ERROR${fault === undefined ? '' : `: ${excerpt(fault)}`}`,
    hint: `Give it a fresh disk: cowherd reset ${fleetOf(name)} ${name}. Or remove it: cowherd teardown ${fleetOf(name)} ${name}`,
  };
}

function locked(_name: string, { id }: Server): Decision {
  return { reason: 'its server is locked', hint: `Unlock it first: openstack server unlock ${id}` };
}

function bootsFromVolume({ id }: Server): Decision {
  return {
    reason: 'its server boots from a volume, which a rebuild does not replace',
    hint: `See it: openstack server show ${id}`,
  };
}

const wayBack: Readonly<Record<string, string>> = {
  PAUSED: 'unpause',
  SUSPENDED: 'resume',
  RESCUE: 'unrescue',
  SHELVED: 'unshelve',
  SHELVED_OFFLOADED: 'unshelve',
  VERIFY_RESIZE: 'resize confirm',
};

function inOtherState(name: string, { id, status, taskState }: Server): Decision {
  const command = wayBack[status];
  const reason = `its server is in state ${excerpt(taskState === null ? status : `${status}, ${taskState}`)}`;
  if (command === undefined) return { reason, hint: `Check again in a moment: cowherd status ${fleetOf(name)}` };
  return { reason, hint: `First: openstack server ${command} ${id}` };
}
