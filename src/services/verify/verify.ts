import pLimit from 'p-limit';
import { CowherdError, reportOf } from '../../core/errors.js';
import type { Finding } from '../../core/finding.js';
import { assertName } from '../../core/names.js';
import type { Ports } from '../../ports/index.js';
import { type WorkOptions, withFleetLock } from '../fleet/access.js';
import { isAborted } from '../run/member-executor.js';
import { withSnapshotLock } from '../snapshot/access.js';
import { examineBases, leftover, readBases, sweepHint } from './bases.js';
import type { FixableFinding } from './fixable-finding.js';
import { examineFleet, fleetNames } from './fleets.js';
import { type LibvirtInventory, readInventory } from './libvirt-inventory.js';
import { examineSnapshots } from './snapshots.js';

export interface VerifyOptions extends WorkOptions {
  /** One fleet; default: the whole store. */
  fleet?: string | undefined;
  /** Fix findings if that loses no data. */
  fix?: boolean | undefined;
  /** Read base images, and overlays of stopped members, in full. */
  deep?: boolean | undefined;
}

export interface Verification {
  /** Problems found; those with `fixed` are resolved. */
  findings: Finding[];
  fixed: number;
  /** Not checked: locked by another run. */
  busy: string[];
  /** Files in cowherd's directories that it did not create and does not change. */
  unknown: string[];
  looked: { fleets: number; members: number; bases: number; snapshots: number };
  seconds: number;
}

const fleetConcurrency = 4;
/** Wait time for another import or removal of base images. */
const baseLockSeconds = 2;
/** Probes take seconds and remove their disk: older ones were killed. */
const probeAgeMs = 10 * 60_000;

/** Compares the records, the store and libvirt. Takes no lock unless there are findings: then it checks again under the lock, so that a running verb is not reported.
 * @throws FLEET_NOT_FOUND
 */
export async function verifyStore(ports: Ports, options: VerifyOptions = {}): Promise<Verification> {
  const began = ports.clock.monotonic();
  if (options.fleet !== undefined) assertName('fleet', options.fleet);
  const verification = new StoreVerification(ports, options);
  const inventory = await readInventory(ports);
  await verification.fleets(inventory, await fleetsToLookAt(ports, inventory, options.fleet));
  if (options.fleet === undefined) {
    await verification.bases();
    await verification.snapshots();
    await verification.probes();
  }
  return { ...verification.result(), seconds: Math.round(ports.clock.monotonic() - began) / 1000 };
}

async function fleetsToLookAt(ports: Ports, inventory: LibvirtInventory, fleet: string | undefined): Promise<string[]> {
  const known = await fleetNames(ports, inventory);
  if (fleet === undefined) return known;
  if (known.includes(fleet)) return [fleet];
  throw new CowherdError(
    'FLEET_NOT_FOUND',
    `Fleet ${fleet} not found: neither a directory in ${ports.fleets.root} nor a domain of it exists`,
    {
      hint: known.length === 0 ? 'The store has no fleets.' : `Existing fleets: ${known.slice(0, 10).join(', ')}`,
    },
  );
}

class StoreVerification {
  readonly #found: FixableFinding[] = [];
  readonly #busy: string[] = [];
  readonly #unknown: string[] = [];
  readonly #looked = { fleets: 0, members: 0, bases: 0, snapshots: 0 };

  constructor(
    private readonly ports: Ports,
    private readonly options: VerifyOptions,
  ) {}

  result(): Omit<Verification, 'seconds'> {
    const findings = this.#found
      .map(({ fix: _fix, ...finding }) => finding)
      .sort((a, b) => (a.fleet ?? '').localeCompare(b.fleet ?? '') || a.kind.localeCompare(b.kind) || a.what.localeCompare(b.what));
    const fixed = findings.filter((finding) => finding.fixed).length;
    return { findings, fixed, busy: this.#busy.sort(), unknown: this.#unknown.sort(), looked: this.#looked };
  }

  async fleets(inventory: LibvirtInventory, names: readonly string[]): Promise<void> {
    const { ports } = this;
    const { deep = false, onProgress } = this.options;
    const limit = pLimit(fleetConcurrency);
    let done = 0;
    const look = async (fleet: string): Promise<void> => {
      this.#throwIfInterrupted();
      const seen = await examineFleet(ports, inventory, fleet, deep);
      this.#looked.fleets++;
      this.#looked.members += seen.members;
      this.#unknown.push(...seen.unknown);
      // Read the inventory again: domains may have changed meanwhile.
      await this.#settle(seen.findings, `fleet ${fleet}`, (fix) =>
        withFleetLock(ports, fleet, async () => fix((await examineFleet(ports, await readInventory(ports), fleet, deep)).findings)),
      );
      onProgress?.({ kind: 'stage', stage: 'verify', done: ++done, total: names.length });
    };
    await Promise.all(names.map((fleet) => limit(() => look(fleet))));
  }

  async bases(): Promise<void> {
    const { ports, options } = this;
    const { findings, count, unknown } = await examineBases(ports);
    this.#looked.bases = count;
    this.#unknown.push(...unknown);
    await this.#settle(findings, 'base images', (fix) =>
      ports.bases.locked(async () => fix((await examineBases(ports)).findings), {
        signal: options.signal,
        waitSeconds: baseLockSeconds,
        keepLeftovers: true,
      }),
    );
    if (options.deep === true) this.#found.push(...(await readBases(ports, options)));
  }

  async snapshots(): Promise<void> {
    const { ports } = this;
    const { directories, count, unknown } = await examineSnapshots(ports);
    this.#looked.snapshots = count;
    this.#unknown.push(...unknown);
    for (const { uuid, domain, findings } of directories) {
      this.#throwIfInterrupted();
      await this.#settle(findings, `snapshots of ${domain}`, (fix) =>
        withSnapshotLock(ports, uuid, async () =>
          fix((await examineSnapshots(ports, uuid)).directories.flatMap((directory) => directory.findings)),
        ),
      );
    }
  }

  /** Probe guests that a killed run left: one may use a CPU core forever. */
  async probes(): Promise<void> {
    const { clock, survey, hypervisor } = this.ports;
    const oldest = clock.now().getTime() - probeAgeMs;
    const findings = (await survey.entries('probes'))
      .filter(({ role, modifiedAt }) => role === 'leftover' && modifiedAt < oldest)
      .map((entry) =>
        leftover(entry, sweepHint, async () => {
          await hypervisor.destroy(entry.stem);
          await survey.remove('probes', entry);
        }),
      );
    await this.#settle(findings, 'probes', (fix) => fix(findings));
  }

  /** @param underLock examines again under the lock and passes the findings to the fix */
  async #settle(
    seen: readonly FixableFinding[],
    what: string,
    underLock: (fix: (found: readonly FixableFinding[]) => Promise<void>) => Promise<void>,
  ): Promise<void> {
    if (seen.length === 0) return;
    try {
      await underLock((found) => this.#fix(found));
    } catch (error) {
      this.#throwIfInterrupted();
      const code = error instanceof CowherdError ? error.code : undefined;
      if (code === 'LOCKED' || code === 'INTERRUPTED') this.#busy.push(what);
      // Without write permission, report the findings without a lock.
      else if (code === 'STORE_FAILED' && this.options.fix !== true) this.#found.push(...seen);
      else throw error;
    }
  }

  async #fix(found: readonly FixableFinding[]): Promise<void> {
    for (const one of found) {
      if (this.options.fix === true && one.fix !== undefined) {
        try {
          await one.fix();
          one.fixed = true;
        } catch (error) {
          const { message, hint = one.hint } = reportOf(error);
          one.message += `; it could not be fixed: ${message}`;
          one.hint = hint;
        }
      }
      this.#found.push(one);
    }
  }

  #throwIfInterrupted(): void {
    if (isAborted(this.options.signal)) throw new CowherdError('INTERRUPTED', 'Interrupted while checking');
  }
}

/** 4 if there are unfixed findings; 6 if there are none but something could not be checked; otherwise 0. */
export function exitCodeOfVerification({ findings, busy }: Verification): number {
  if (findings.some((finding) => !finding.fixed)) return 4;
  return busy.length > 0 ? 6 : 0;
}
