/** The image or its content cannot be read. The message is for tests and developers. */
export class UnreadableDisk extends Error {
  override readonly name = 'UnreadableDisk';
}

/** @throws UnreadableDisk if a number cannot represent it exactly */
export function exact(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new UnreadableDisk('an offset or size is beyond all disks');
  return Number(value);
}

export const maxReadBytes = 4 * 1024 ** 2;

const stepBytes = 512;

/** Limits how much is read from one image and for how long, since its content is not trusted. */
export class ReadBudget {
  #bytesLeft: number;
  readonly #deadline: number;

  /** @param milliseconds counted from now */
  constructor({ bytes = 64 * 1024 ** 2, milliseconds = 5000 }: { bytes?: number; milliseconds?: number } = {}) {
    this.#bytesLeft = bytes;
    this.#deadline = performance.now() + milliseconds;
  }

  get isSpent(): boolean {
    return this.#bytesLeft < 0 || performance.now() > this.#deadline;
  }

  /** @throws UnreadableDisk if nothing is left */
  spend(bytes: number): void {
    this.#bytesLeft -= bytes + stepBytes;
    if (this.isSpent) throw new UnreadableDisk('there is more to read than is worth it');
  }
}

/** The most recent values, by key. */
export class Recent<Key, Value> {
  readonly #values = new Map<Key, Value>();

  constructor(readonly kept: number) {}

  async get(key: Key, make: () => Promise<Value>): Promise<Value> {
    const value = this.#values.get(key) ?? (await make());
    this.#values.delete(key);
    this.#values.set(key, value);
    const [oldest] = this.#values.keys();
    if (this.#values.size > this.kept && oldest !== undefined) this.#values.delete(oldest);
    return value;
  }
}
