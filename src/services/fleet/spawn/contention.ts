import { randomInt } from 'node:crypto';
import { AddressTaken } from '../../../core/domain/network.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { Ports } from '../../../ports/index.js';
import { type EarlierState, earlierState, takeBackSpawn } from './prepare.js';

/** Runs meet where each takes what the other planned to take. Each retry begins at a random place: they hardly meet twice. */
const mostAttempts = 8;
/** A DHCP range is walked through up to a /16. */
const places = 65_536;

/** Several runs that reserve addresses on one network at the same time, also for fleets of different stores. */
export class Contention {
  readonly #earlier: EarlierState;
  #attempts = 1;
  #from = 0;
  /** Whether an attempt has left an intent and reservations for the next one. */
  #isHeld = false;

  private constructor(earlier: EarlierState) {
    this.#earlier = earlier;
  }

  static async of(ports: Pick<Ports, 'fleets' | 'seeds'>, fleet: string): Promise<Contention> {
    return new Contention(await earlierState(ports, fleet));
  }

  /** How many free addresses to pass over. */
  get from(): number {
    return this.#from;
  }

  /** To be called when an attempt begins to write: from there on it undoes itself what it leaves. */
  preparing(): { earlier: EarlierState; isTriedAgain: boolean } {
    this.#isHeld = false;
    return { earlier: this.#earlier, isTriedAgain: this.#attempts < mostAttempts };
  }

  /** @returns whether another attempt, with other addresses, is to be made */
  isMet(error: unknown): boolean {
    if (!(error instanceof AddressTaken) || this.#attempts >= mostAttempts) return false;
    this.#attempts++;
    this.#from = randomInt(places);
    this.#isHeld = true;
    return true;
  }

  /** Undoes what an attempt has left for one that is not made any more, or that failed before it wrote anything. */
  async takeBack(ports: Ports, record: FleetRecord): Promise<void> {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    const domains = await ports.hypervisor.listDomains().catch(() => undefined);
    // Without an answer nobody can tell which members there are: the intent says how to go on.
    if (domains === undefined) return;
    const names = new Set(domains.map(({ name }) => name));
    await takeBackSpawn(ports, record, this.#earlier, (name) => names.has(name));
  }
}
