import type { MemberDefinition } from '../../core/domain/domain-xml.js';
import { CowherdError, fullDiskHint } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import { isOn } from '../../core/fleet/observation.js';
import type { Unfinished } from '../../core/fleet/operation.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import type { MarkedMember, Plan } from '../../core/fleet/plan/member-plan.js';
import { planPower, resumable } from '../../core/fleet/plan/plan.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { selectMembers } from '../../core/fleet/selection/selection.js';
import type { WaitRequest } from '../../core/guest/stages.js';
import type { Ports } from '../../ports/index.js';
import { withChains } from '../base/chains.js';
import { withoutStrays } from '../checkpoint/strays.js';
import { refuseDuplicates } from '../clone/plan.js';
import { beginWait, waitOf } from '../guest/readiness.js';
import { startOtherwise } from '../host/accelerator-fallback.js';
import { assertChecks, type Check, checkMemory } from '../preflight/checks.js';
import { CachedPoll } from '../run/cached-poll.js';
import { foresee, withForeseen } from '../run/dry-run/refusal.js';
import { remember } from '../run/remember.js';
import { byName, dryOutcome, executePlan, offNames } from '../run/run-plan.js';
import { assertNothingUnfinished, assertWork, loadFleet, observeWithMarks, type WorkOptions, withFleetLock } from './access.js';
import { refuseMisplaced, refuseOtherStores, refuseStaleDefinitions } from './disks/backing-check.js';
import { refuseForeignDisks } from './disks/foreign-disks.js';
import { verifiedBases } from './disks/fresh-disks.js';
import { shutDownGuest, shutdownPollMs } from './shut-down.js';

export interface PowerOptions extends WorkOptions {
  fleet: string;
  members?: readonly string[] | undefined;
  /** stop: force off guests that do not shut down in time. start: overcommit memory. */
  force?: boolean | undefined;
  /** stop: time limit for a guest's shutdown. */
  timeoutMs?: number | undefined;
  /** start: the stage that started members must reach within timeoutMs. */
  wait?: WaitRequest | undefined;
  dryRun?: boolean | undefined;
}

export function start(ports: Ports, options: PowerOptions): Promise<Outcome> {
  return power(ports, 'start', options);
}

/** Shuts down guests by their agent or ACPI, and waits. Forces them off only with `force`. */
export function stop(ports: Ports, options: PowerOptions): Promise<Outcome> {
  return power(ports, 'stop', options);
}

async function power(ports: Ports, verb: 'start' | 'stop', options: PowerOptions): Promise<Outcome> {
  assertWork(options);
  if (options.dryRun === true) return begin(ports, verb, options);
  return withFleetLock(ports, options.fleet, async () => {
    const outcome = await begin(ports, verb, options);
    return verb === 'start' ? startOtherwise(ports, outcome, options) : outcome;
  });
}

async function begin(ports: Ports, verb: 'start' | 'stop', options: PowerOptions): Promise<Outcome> {
  const began = ports.clock.monotonic();
  const record = await loadFleet(ports, options.fleet);
  const chosen = selectMembers(record.name, record.members, options.members ?? []);
  // During an unfinished operation, a member's disks may not match each other.
  if (verb === 'start') await assertNothingUnfinished(ports, record.name, (unfinished) => isDoneFor(unfinished, chosen));
  const observed = await observeWithMarks(ports, { ...record, members: chosen });
  const wait = await waitOf(ports, record, options.wait);
  const planned = planPower(observed, record.id, verb);
  let plan =
    verb === 'start' ? await startable(ports, record, observed, planned) : await refuseOtherStores(ports, record, observed, planned);
  let definitions: ReadonlyMap<string, MemberDefinition> = new Map();
  const checks: Check[] = [];
  if (verb === 'start') {
    const imageOf = await verifiedBases(ports, { ...record, members: chosen });
    ({ plan, definitions } = await withChains(ports, record, chosen, plan, imageOf));
    checks.push(await memoryFor(ports, record, plan));
  }
  const before = byName(observed);
  const change = {
    verb,
    id: '',
    record,
    plan,
    before,
    doneAs: () => (verb === 'start' ? ('started' as const) : ('stopped' as const)),
    began,
  };
  if (options.dryRun === true) return withForeseen(dryOutcome(ports, change), foresee(checks, options.force === true));
  assertChecks(checks, options.force === true);
  const { outcome } = await executePlan(
    ports,
    {
      ...change,
      watch: await beginWait(ports, record, wait),
      context: {
        journaled: false,
        definitions,
        shutdown: shutdownBy(ports, options),
        assertStaysRunning: staysRunning(ports),
        beforeStart: withoutStrays(ports, record, offNames(before)),
      },
    },
    // Waiting for guests costs nothing: all may shut down at once.
    verb === 'stop' ? { ...options, concurrency: options.concurrency ?? Math.max(1, plan.members.length) } : options,
  );
  const done = new Set(['started', 'stopped']);
  const members = outcome.members.map((one) => ({ ...one, isDone: done.has(one.became ?? one.outcome) }));
  await remember(ports, record.name, { verb, seconds: outcome.operation.seconds, members });
  return outcome;
}

function memoryFor(ports: Ports, { spec }: FleetRecord, plan: Plan): Promise<Check> {
  const starting = plan.members.filter(({ steps }) => steps.includes('start')).length;
  return checkMemory(ports, { starting, memoryMiB: spec.memoryMiB, creating: 0, virtualBytes: 0 });
}

/** The plan without members whose disks and domain do not match. */
async function startable(ports: Ports, record: FleetRecord, observed: readonly MarkedMember[], plan: Plan): Promise<Plan> {
  const placed = refuseStaleDefinitions(record, observed, await refuseMisplaced(ports, record, observed, plan));
  return refuseForeignDisks(ports, record, observed, refuseDuplicates(placed, observed, record));
}

function isDoneFor({ operation, done }: Unfinished, chosen: readonly MemberIdentity[]): boolean {
  // A teardown leaves nothing to start.
  const isOver = (index: number): boolean => operation.verb !== 'teardown' && done.has(index);
  return chosen.every(({ index }) => !operation.targets.includes(index) || isOver(index));
}

/** A resumed guest repeats the failed I/O at once; if the disk is still full, it is paused again within this time. */
const settleMs = 500;

function staysRunning(ports: Ports): (member: MemberIdentity) => Promise<void> {
  const states = new CachedPoll(ports.clock, shutdownPollMs, async () => byName(await ports.hypervisor.listDomains()));
  return async ({ name }) => {
    await ports.clock.sleep(settleMs);
    const domain = (await states.get()).get(name);
    if (domain?.state !== 'paused' || domain.reason !== 'I/O error') return;
    const why = (await ports.hypervisor.readDiskErrors([name])).get(name);
    throw new CowherdError('STORE_FAILED', `${name} was paused again immediately by an I/O error${why === undefined ? '' : ` (${why})`}`, {
      hint: why?.includes('no space') === false ? 'The disk fails: see "dmesg".' : fullDiskHint,
    });
  };
}

function shutdownBy(ports: Ports, { timeoutMs, force, signal }: PowerOptions): (member: MemberIdentity) => Promise<void> {
  const states = new CachedPoll(ports.clock, shutdownPollMs, async () => byName(await ports.hypervisor.listDomains()));
  return async ({ name }) => {
    // A paused guest cannot react to a shutdown request.
    const domain = (await states.get()).get(name);
    if (domain?.state === 'paused' && resumable.has(domain.reason)) {
      if (force === true) return ports.hypervisor.destroy(name);
      throw new CowherdError('NOT_STOPPED', `${name} is paused (${domain.reason}) and cannot shut down`, {
        hint: `Resume it first (cowherd start ${name.replace(/-\d+$/, '')}), or force it off: --force`,
      });
    }
    return shutDownGuest(ports, {
      name,
      ref: name,
      isOn: async () => isOn((await states.get()).get(name)),
      force: force === true,
      timeoutMs,
      signal,
    });
  };
}
