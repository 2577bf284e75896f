import { randomInt } from 'node:crypto';
import { AddressTaken } from '../../../core/domain/network.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { Ports } from '../../../ports/index.js';
import { type EarlierState, earlierState, takeBackSpawn } from './prepare.js';

/** Concurrent runs may plan the same addresses. Each retry starts at a random offset, so a second conflict is unlikely. */
const maxAttempts = 8;
/** Offsets cover DHCP ranges up to a /16. */
const maxOffset = 65_536;

/** Conflicts between runs that reserve addresses on one network at the same time, also for fleets of different stores. */
export class Contention {
  readonly #earlier: EarlierState;
  #attempts = 1;
  #from = 0;
  /** Whether an attempt left its intent and reservations for the next one. */
  #isHeld = false;

  private constructor(earlier: EarlierState) {
    this.#earlier = earlier;
  }

  static async of(ports: Pick<Ports, 'fleets' | 'seeds'>, fleet: string): Promise<Contention> {
    return new Contention(await earlierState(ports, fleet));
  }

  /** Number of free addresses to skip. */
  get from(): number {
    return this.#from;
  }

  /** Called when an attempt starts to write: from then on it undoes its own changes. */
  preparing(): { earlier: EarlierState; isTriedAgain: boolean } {
    this.#isHeld = false;
    return { earlier: this.#earlier, isTriedAgain: this.#attempts < maxAttempts };
  }

  /** @returns whether to try again with other addresses */
  isMet(error: unknown): boolean {
    if (!(error instanceof AddressTaken) || this.#attempts >= maxAttempts) return false;
    this.#attempts++;
    this.#from = randomInt(maxOffset);
    this.#isHeld = true;
    return true;
  }

  /** Undoes what an attempt left for a next one that is not made or failed before its first write. */
  async takeBack(ports: Ports, record: FleetRecord): Promise<void> {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const domains = await ports.hypervisor.listDomains().catch(() => undefined);
    // Without an answer the existing members are unknown: resume continues from the intent.
    if (domains === undefined) return;
    const names = new Set(domains.map(({ name }) => name));
    await takeBackSpawn(ports, record, this.#earlier, (name) => names.has(name));
  }
}
