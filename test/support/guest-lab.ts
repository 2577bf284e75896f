import { afterAll, beforeAll, inject } from 'vitest';
import { Lab } from './lab.js';
import { TestNetwork } from './network.js';

export type Row = Record<string, any>;

/** Linux guests, and a network with few addresses. */
export class GuestLab {
  readonly lab = new Lab();
  #network: TestNetwork | undefined;

  /** Prepares it before the tests of the surrounding describe. @param addresses for members; the first one ends in 10 */
  static use({ addresses = 8 } = {}): GuestLab {
    const one = new GuestLab();
    beforeAll(async () => {
      await one.lab.create();
      one.#network = await TestNetwork.open(one.lab.id, 10, 9 + addresses);
    });
    afterAll(async () => {
      await one.lab.close();
      await one.#network?.close();
    });
    return one;
  }

  get network(): TestNetwork {
    if (this.#network === undefined) throw new Error('the network exists only in tests');
    return this.#network;
  }

  /** Options of spawn. */
  get linux(): string[] {
    return ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'nocloud'];
  }

  readonly rows = async (...args: string[]): Promise<Row[]> => (await this.lab.ok(...args)).members;

  /** The output of a command in each guest. */
  readonly said = async (fleet: string, command: string, ...flags: string[]): Promise<string[]> =>
    (await this.rows('exec', fleet, ...flags, '--', command)).map((row) => String(row.stdout).trim());
}
