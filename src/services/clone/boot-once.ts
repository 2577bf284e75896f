import { CowherdError } from '../../core/errors.js';
import type { Outcome } from '../../core/fleet/outcome.js';
import { type FleetRecord, growMembers } from '../../core/fleet/record.js';
import { isAutoWait, type WaitFor, type WaitRequest } from '../../core/guest/stages.js';
import { assertWithin, limits } from '../../core/limits.js';
import { assertName } from '../../core/names.js';
import type { Ports } from '../../ports/index.js';
import { knownRecord, type WorkOptions } from '../fleet/access.js';
import type { SpawnOptions } from '../fleet/spawn/input/options.js';
import { isBegun, spawn } from '../fleet/spawn/spawn.js';
import { teardown } from '../fleet/teardown/teardown.js';

/**
 * Boots one VM of a new fleet, and creates all members as clones of it. The VM is the only member of a fleet of its own, which is
 * removed at the end; if it is still there after an interruption, the next run continues with it.
 * @returns the outcome of the VM if it did not become ready
 * @throws BAD_USAGE, NOT_SUPPORTED for options with which clones are impossible
 */
export async function spawnBootOnce(ports: Ports, options: SpawnOptions): Promise<Outcome> {
  const { fleet } = options;
  assertName('fleet', fleet);
  assertWithin({ count: [options.count, limits.members] });
  const booted = bootFleet(fleet);
  assertName('fleet', booted);
  const domain = growMembers(booted, '', [], 1)[0]?.name ?? '';
  const clones = cloneOptions(options, domain);
  const began = ports.clock.monotonic();
  const isStarted = async (): Promise<boolean> => (await isBegun(ports, fleet)) || (await ports.memory.readFreeze(fleet)) !== undefined;
  if (await isStarted()) return removeBooted(ports, options, await spawn(ports, clones));
  assertBootable(options);
  assertTpmShared(options, await assertOurs(ports, fleet));
  // The agent, and cloud-init if the image names it.
  const wait: WaitRequest = options.wait === undefined || isAutoWait(options.wait) ? { stages: 'auto', withAgent: true } : options.wait;
  const first = await spawn(ports, { ...options, fleet: booted, bootsFor: fleet, count: 1, start: true, wait });
  if (options.dryRun === true) {
    const text = `this is the VM that boots once; ${options.count ?? 0} members of ${fleet} would then be its clones`;
    return { ...first, notes: [...first.notes, text] };
  }
  if (first.counts.failed > 0 || first.operation.interrupted) {
    const text = `no member of ${fleet} was created: run the command again to continue with ${domain}, or remove it: cowherd teardown ${booted} --yes`;
    return { ...first, notes: [...first.notes, text] };
  }
  try {
    const outcome = await spawn(ports, clones);
    const operation = { ...outcome.operation, seconds: (ports.clock.monotonic() - began) / 1000 };
    const notes = outcome.notes.filter((note) => !note.includes(` frozen from ${domain}`));
    return await removeBooted(ports, options, { ...outcome, operation, notes: [...first.notes, ...notes] });
  } catch (error) {
    // From then on, resume continues.
    if (!(error instanceof CowherdError) || (await isStarted().catch(() => true))) throw error;
    const { code, message, details, hint } = error;
    throw new CowherdError(code, message, {
      details: [
        ...(details ?? []),
        `${domain} is still running: the next run continues with it; to remove it: cowherd teardown ${booted} --yes`,
      ],
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  }
}

/** The fleet of the VM that boots. */
function bootFleet(fleet: string): string {
  return `${fleet}-boot`;
}

/** Clones take everything else from the VM, except the format of their disks. */
function cloneOptions(options: SpawnOptions, fromRunning: string): SpawnOptions {
  const { fleet, count, shareTpm, start, timeoutMs, dryRun, force, concurrency, bootConcurrency, signal, onProgress } = options;
  const spec = { overlay: options.spec?.overlay };
  // It does not continue after the freeze: it is removed.
  const source = { fromRunning, keepFrozen: true, shareTpm };
  const wait = waitOfClones(options.wait);
  return { fleet, count, spec, ...source, start, wait, timeoutMs, dryRun, force, concurrency, bootConcurrency, signal, onProgress };
}

/**
 * What each clone must still reach. The rest was reached before the freeze: asking every guest for cloud-init's state would cost seconds of
 * an emulated CPU, and the text that --wait console=REGEX looks for is in the log of the VM that booted.
 */
function waitOfClones(wait: WaitRequest | undefined): WaitFor | undefined {
  if (isAutoWait(wait)) return undefined;
  const own = (wait?.stages ?? []).filter((stage) => stage === 'running' || stage === 'address' || stage === 'ssh');
  return own.length === 0 ? undefined : { stages: own };
}

/** @throws BAD_USAGE, NOT_SUPPORTED */
function assertBootable({ fleet, base, fromRunning, spec, seedFiles = {}, defaults }: SpawnOptions): void {
  if (fromRunning !== undefined) {
    throw new CowherdError('BAD_USAGE', '--boot-once and --from-running exclude each other', {
      hint: 'With --from-running, nothing boots: leave out --boot-once.',
    });
  }
  const files = Object.values(seedFiles).some((file) => file !== undefined);
  const seed = spec?.seed ?? (base === undefined ? undefined : defaults?.seed);
  if (!files && (seed === undefined || seed === 'none' || seed === 'smbios')) return;
  throw new CowherdError('NOT_SUPPORTED', `--boot-once cannot give each member of ${fleet} user-data of its own: only one VM boots`, {
    hint: 'Use --seed smbios for its name and ssh keys, and "cowherd exec" for what differs between members. Or leave out --boot-once.',
  });
}

/** Otherwise the VM would boot, and be refused when it is ready. @param booted the VM of an earlier run @throws NOT_SUPPORTED */
function assertTpmShared({ fleet, spec, shareTpm }: SpawnOptions, booted: FleetRecord | undefined): void {
  if (shareTpm === true || (spec?.tpm ?? booted?.spec.tpm) !== true) return;
  throw new CowherdError('NOT_SUPPORTED', `--boot-once cannot give each member of ${fleet} a TPM of its own: only one VM boots`, {
    hint: 'If all clones may unseal the same secrets, add --share-tpm. Otherwise leave out --tpm or --boot-once.',
  });
}

/** @returns the VM of an earlier run @throws BAD_USAGE if a fleet of that name is something else */
async function assertOurs(ports: Ports, fleet: string): Promise<FleetRecord | undefined> {
  const booted = bootFleet(fleet);
  const record = await knownRecord(ports, booted);
  if (record === undefined || record.bootsFor === fleet) return record;
  throw new CowherdError('BAD_USAGE', `Fleet ${booted} exists, and --boot-once would use that name for the VM that boots`, {
    hint: `Choose another name for the new fleet, or remove that one: cowherd teardown ${booted}`,
  });
}

/** Removes the VM that booted for a fleet, if there is one, once all members exist. @param outcome of the fleet's spawn */
export async function removeBooted(
  ports: Ports,
  options: WorkOptions & { fleet: string; dryRun?: boolean | undefined },
  outcome: Outcome,
): Promise<Outcome> {
  const { fleet, dryRun, signal, onProgress } = options;
  const booted = bootFleet(fleet);
  const isDone = outcome.counts.failed === 0 && !outcome.operation.interrupted && dryRun !== true;
  if (!isDone || (await knownRecord(ports, booted))?.bootsFor !== fleet) return outcome;
  await teardown(ports, { fleet: booted, signal, onProgress });
  return outcome;
}
