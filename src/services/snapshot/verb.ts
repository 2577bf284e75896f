import { CowherdError } from '../../core/errors.js';
import { diffDomains } from '../../core/snapshot/diff.js';
import { levelName, type SnapshotJournal, type SnapshotVerb } from '../../core/snapshot/snapshot.js';
import { sideOf } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';
import { assertWork } from '../fleet/access.js';
import { assertReachable } from '../preflight/reachability.js';
import { isRunning, obstacles, refuse, type SnapshotContext, type SnapshotOptions, withSnapshots } from './access.js';
import { assertUnused, findUsers } from './image-users.js';
import { carryOut } from './journal-executor.js';

/** What a verb did, or would do. */
export interface SnapshotOutcome {
  domain: string;
  uuid: string;
  verb: SnapshotVerb;
  snapshot: { number: number; name: string };
  /** It was begun by an earlier run, which did not end. */
  isResumed: boolean;
  /** False where nothing but the diff was asked for. */
  isDone: boolean;
  /** Of the domain's XML, unified. */
  diff: string;
  disks: Array<{ target: string; from: string; to: string }>;
  /** Names of the snapshots that there are afterwards, the lowest first. */
  snapshots: string[];
  /** What one may want to know. */
  notes: string[];
  /** The domain was shut down for it. */
  wasRunning: boolean;
  startedAgain: boolean;
  seconds: number;
}

export interface Planned {
  journal: SnapshotJournal;
  notes: string[];
  /** What is lost for good, as a question; undefined where nothing is. */
  loss?: string | undefined;
}

/** Runs one verb on one domain: goes on with what was interrupted, else plans; then checks, asks, and carries it out. */
export function runVerb(
  ports: Ports,
  verb: SnapshotVerb,
  options: SnapshotOptions & { snapshot?: string | undefined },
  plan: (sight: SnapshotContext) => Promise<Planned>,
): Promise<SnapshotOutcome> {
  return withSnapshots(ports, options.domain, async (sight) => {
    assertWork(options);
    const began = ports.clock.monotonic();
    const interrupted = goOn(sight, verb, options.snapshot);
    refuse(verb, sight.domain.name, await obstacles(ports, sight, options.force === true || options.diffOnly === true));
    const { journal, notes, loss } = interrupted ?? (await plan(sight));
    const assertUnused = (): Promise<void> => assertNobodyElse(ports, sight, journal);
    // Of one that has all but its start behind it, nobody needs to be asked about anything.
    if (journal.isCleared !== true) await assertUnused();
    if (journal.isCleared !== true) await assertInReach(ports, sight, journal);
    const sharing = journal.isCleared === true ? [] : await sharers(ports, sight, journal);
    const outcome = (isDone: boolean, startedAgain: boolean): SnapshotOutcome => ({
      domain: sight.domain.name,
      uuid: sight.domain.uuid,
      verb,
      snapshot: journal.level,
      isResumed: interrupted !== undefined,
      isDone,
      diff: diffDomains(sight.domain.name, journal.xmlBefore, journal.xmlAfter),
      disks: journal.switched.map(({ target, from, to }) => ({ target, from: from.path, to: to.path })),
      snapshots: (isDone ? journal.after : sight.levels).map(({ name }) => name),
      notes: [...notes, ...sharing],
      wasRunning: journal.wasRunning || isRunning(sight),
      startedAgain,
      seconds: (ports.clock.monotonic() - began) / 1000,
    });
    if (options.diffOnly === true) return outcome(false, false);
    const start = sharing.length === 0 ? options.start : false;
    const shutdown = isRunning(sight) ? [shutdownNotice(sight.domain.name, start !== false)] : [];
    if (loss !== undefined) await options.approve?.([loss, ...shutdown, ...sharing].join(' '), true);
    else if (shutdown.length > 0) await options.approve?.([...shutdown, 'Go on?'].join(' '), false);
    return outcome(true, await carryOut(ports, sight, journal, { ...options, start }, assertUnused));
  });
}

function shutdownNotice(name: string, start: boolean): string {
  return `${name} is running: it is shut down for this${start ? ' and started again afterwards' : ' and stays off'}.`;
}

/** @throws UNFINISHED_OPERATION where another verb was interrupted; DOMAIN_CHANGED where its two sides are both gone */
function goOn({ domain, xml, journal }: SnapshotContext, verb: SnapshotVerb, snapshot: string | undefined): Planned | undefined {
  if (journal === undefined) return undefined;
  const what = `snapshot ${journal.verb} of ${levelName(journal.level)}`;
  const isSame = snapshot === undefined || snapshot === journal.level.name || snapshot === String(journal.level.number);
  if (journal.verb !== verb || !isSame) {
    throw new CowherdError('UNFINISHED_OPERATION', `${what} was interrupted on ${domain.name}`, {
      details: [`it began ${journal.startedAt}`],
      hint: `Finish it first: cowherd snapshot ${journal.verb} ${domain.name}`,
    });
  }
  if (journal.isCleared !== true && sideOf(xml, journal.switched) === 'elsewhere') {
    throw new CowherdError(
      'DOMAIN_CHANGED',
      `${what} was interrupted, and the disks of ${domain.name} were changed since; nothing was changed`,
      {
        details: journal.switched.map(
          ({ target, from, to }) => `disk ${target} must be ${from.path} (${from.format}) or ${to.path} (${to.format})`,
        ),
        hint: `Put one of them on each disk with "virsh edit ${domain.name}", all of the same side, and run this again.`,
      },
    );
  }
  return {
    journal,
    notes: [`this finishes what began ${journal.startedAt} and was interrupted`],
    loss: verb === 'take' ? undefined : `Finish the interrupted ${what} on ${domain.name}?`,
  };
}

/** Who stands on an image that the domain is put back to writing on: told, and the domain is left off. */
async function sharers(ports: Ports, { handle, domain, levels }: SnapshotContext, journal: SnapshotJournal): Promise<string[]> {
  const fresh = new Set(journal.create.map(({ path }) => path));
  const images = journal.switched.map(({ to }) => to.path).filter((path) => !fresh.has(path));
  if (images.length === 0 || journal.merge.length > 0) return [];
  const targets = new Set(journal.switched.map(({ target }) => target));
  const ours = [...journal.remove, ...fresh, ...levels.flatMap((level) => level.disks.map(({ overlay }) => overlay))];
  const users = await findUsers(ports, { images, domain, handle, targets, ours });
  return users.length === 0
    ? []
    : [`Others stand on what it goes back to, and would become garbage as soon as it writes there; it is left off: ${users.join('; ')}`];
}

/** Shut down first, it would not start again. */
async function assertInReach(ports: Ports, { xml }: SnapshotContext, { switched, create }: SnapshotJournal): Promise<void> {
  // A domain may have QEMU run as another user than all others.
  if (/<seclabel [^>]*model='dac'/.test(xml)) return;
  const paths = [...switched.map(({ to }) => to.path), ...create.map(({ path }) => path)];
  await assertReachable(
    ports,
    paths.map((path) => ({ path, needs: 'pass' })),
  );
}

/** What is written into or removed must be nobody else's. @throws IMAGE_IN_USE */
async function assertNobodyElse(ports: Ports, { handle, domain, levels }: SnapshotContext, journal: SnapshotJournal): Promise<void> {
  const images = [...journal.merge.map(({ into }) => into.path), ...journal.remove.filter((path) => path.endsWith('.qcow2'))];
  if (images.length === 0) return;
  const targets = new Set(journal.switched.map(({ target }) => target));
  // What goes and what is made may stand on each other, and levels that stay are not above what goes.
  const ours = [
    ...journal.remove,
    ...journal.create.map(({ path }) => path),
    ...levels.flatMap((level) => level.disks.map(({ overlay }) => overlay)),
  ];
  await assertUnused(ports, { images, domain, handle, targets, ours });
}
