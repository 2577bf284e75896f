import { virshWord } from '../../core/domain/domain-ref.js';
import { CowherdError } from '../../core/errors.js';
import { shellWord } from '../../core/quoting.js';
import { diffDomains } from '../../core/snapshot/diff.js';
import { levelName, type SnapshotJournal, type SnapshotVerb } from '../../core/snapshot/snapshot.js';
import { sideOf } from '../../core/snapshot/xml.js';
import type { Ports } from '../../ports/index.js';
import { assertWork } from '../fleet/access.js';
import { assertReachable } from '../preflight/reachability.js';
import { isRunning, obstacles, refuse, type SnapshotContext, type SnapshotOptions, withSnapshots } from './access.js';
import { assertUnused, findUsers } from './image-users.js';
import { execute } from './journal-executor.js';

/** The result of a verb, or of its dry run. */
export interface SnapshotOutcome {
  domain: string;
  uuid: string;
  verb: SnapshotVerb;
  snapshot: { number: number; name: string };
  /** Whether this completed an interrupted run. */
  isResumed: boolean;
  /** False if only the diff was requested. */
  isDone: boolean;
  /** Unified diff of the domain's XML. */
  diff: string;
  disks: Array<{ target: string; from: string; to: string }>;
  /** Names of the snapshots afterwards, oldest first. */
  snapshots: string[];
  /** Notes for the user. */
  notes: string[];
  /** Whether the domain was shut down for it. */
  wasRunning: boolean;
  startedAgain: boolean;
  seconds: number;
}

export interface Planned {
  journal: SnapshotJournal;
  notes: string[];
  /** The data loss to confirm, as a question; undefined if nothing is lost. */
  loss?: string | undefined;
}

/** Runs a verb on a domain: continues an interrupted run or plans a new one, then checks, asks for confirmation and executes. */
export function runVerb(
  ports: Ports,
  verb: SnapshotVerb,
  options: SnapshotOptions & { snapshot?: string | undefined },
  plan: (context: SnapshotContext) => Promise<Planned>,
): Promise<SnapshotOutcome> {
  return withSnapshots(ports, options.domain, async (context) => {
    assertWork(options);
    const began = ports.clock.monotonic();
    const interrupted = continueInterrupted(context, verb, options.snapshot);
    refuse(verb, context.domain.name, await obstacles(ports, context, options.force === true || options.diffOnly === true));
    const { journal, notes, loss } = interrupted ?? (await plan(context));
    const assertUnused = (): Promise<void> => assertNoOtherUsers(ports, context, journal);
    // If only the start is left, no checks are needed.
    if (journal.isCleared !== true) await assertUnused();
    if (journal.isCleared !== true) await assertInReach(ports, context, journal);
    const sharing = journal.isCleared === true ? [] : await otherUsers(ports, context, journal);
    const outcome = (isDone: boolean, startedAgain: boolean): SnapshotOutcome => ({
      domain: context.domain.name,
      uuid: context.domain.uuid,
      verb,
      snapshot: journal.level,
      isResumed: interrupted !== undefined,
      isDone,
      diff: diffDomains(context.domain.name, journal.xmlBefore, journal.xmlAfter),
      disks: journal.switched.map(({ target, from, to }) => ({ target, from: from.path, to: to.path })),
      snapshots: (isDone ? journal.after : context.levels).map(({ name }) => name),
      notes: [...notes, ...sharing],
      wasRunning: journal.wasRunning || isRunning(context),
      startedAgain,
      seconds: (ports.clock.monotonic() - began) / 1000,
    });
    if (options.diffOnly === true) return outcome(false, false);
    const start = sharing.length === 0 ? options.start : false;
    const shutdown = isRunning(context) ? [shutdownNotice(context.domain.name, start !== false)] : [];
    if (loss !== undefined) await options.approve?.([loss, ...shutdown, ...sharing].join(' '), true);
    else if (shutdown.length > 0) await options.approve?.([...shutdown, 'Continue?'].join(' '), false);
    return outcome(true, await execute(ports, context, journal, { ...options, start }, assertUnused));
  });
}

function shutdownNotice(name: string, start: boolean): string {
  return `${name} is running: it will be shut down${start ? ' and started again afterwards' : ' and stay off'}.`;
}

/** @throws UNFINISHED_OPERATION if another verb was interrupted; DOMAIN_CHANGED if the domain uses neither the old nor the new disks */
function continueInterrupted(
  { domain, xml, journal }: SnapshotContext,
  verb: SnapshotVerb,
  snapshot: string | undefined,
): Planned | undefined {
  if (journal === undefined) return undefined;
  const what = `snapshot ${journal.verb} of ${levelName(journal.level)}`;
  const isSame = snapshot === undefined || snapshot === journal.level.name || snapshot === String(journal.level.number);
  if (journal.verb !== verb || !isSame) {
    throw new CowherdError('UNFINISHED_OPERATION', `${what} was interrupted on ${domain.name}`, {
      details: [`it started at ${journal.startedAt}`],
      hint: `Finish it first: cowherd snapshot ${journal.verb} ${shellWord(domain.name)}`,
    });
  }
  if (journal.isCleared !== true && sideOf(xml, journal.switched) === 'elsewhere') {
    throw new CowherdError(
      'DOMAIN_CHANGED',
      `${what} was interrupted, and the disks of ${domain.name} were changed since; nothing was changed`,
      {
        details: journal.switched.map(
          ({ target, from, to }) => `disk ${target} must be the old ${from.path} (${from.format}) or the new ${to.path} (${to.format})`,
        ),
        hint: `Set all disks to the old or all to the new file with "virsh edit ${virshWord(domain)}", then run the same command again.`,
      },
    );
  }
  return {
    journal,
    notes: [`completes the operation that started at ${journal.startedAt} and was interrupted`],
    loss: verb === 'take' ? undefined : `Finish the interrupted ${what} on ${domain.name}?`,
  };
}

/** Other users of images that the domain returns to: they are reported, and the domain is not started. */
async function otherUsers(ports: Ports, { ref, domain, levels }: SnapshotContext, journal: SnapshotJournal): Promise<string[]> {
  const fresh = new Set(journal.create.map(({ path }) => path));
  const images = journal.switched.map(({ to }) => to.path).filter((path) => !fresh.has(path));
  if (images.length === 0 || journal.merge.length > 0) return [];
  const targets = new Set(journal.switched.map(({ target }) => target));
  const ours = [...journal.remove, ...fresh, ...levels.flatMap((level) => level.disks.map(({ overlay }) => overlay))];
  const users = await findUsers(ports, { images, domain, ref, targets, ours });
  return users.length === 0
    ? []
    : [
        `The restored images have other users, which would be corrupted as soon as the domain writes to them, so it is not started: ${users.join('; ')}`,
      ];
}

/** Check before the shutdown that QEMU can reach the files: otherwise the domain would not start again. */
async function assertInReach(ports: Ports, { xml }: SnapshotContext, { switched, create }: SnapshotJournal): Promise<void> {
  // The domain may set its own user for QEMU.
  if (/<seclabel [^>]*model='dac'/.test(xml)) return;
  const paths = [...switched.map(({ to }) => to.path), ...create.map(({ path }) => path)];
  await assertReachable(
    ports,
    paths.map((path) => ({ path, needs: 'pass' })),
  );
}

/** Images to write or remove must have no other users. @throws IMAGE_IN_USE */
async function assertNoOtherUsers(ports: Ports, { ref, domain, levels }: SnapshotContext, journal: SnapshotJournal): Promise<void> {
  const images = [...journal.merge.map(({ into }) => into.path), ...journal.remove.filter((path) => path.endsWith('.qcow2'))];
  if (images.length === 0) return;
  const targets = new Set(journal.switched.map(({ target }) => target));
  // Removed and created files may be based on each other, and remaining levels are below the removed ones.
  const ours = [
    ...journal.remove,
    ...journal.create.map(({ path }) => path),
    ...levels.flatMap((level) => level.disks.map(({ overlay }) => overlay)),
  ];
  await assertUnused(ports, { images, domain, ref, targets, ours });
}
