import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type Result } from 'execa';
import { expect } from 'vitest';
import { buildGolden } from '../../scripts/golden.js';
import { BaseDirectory } from '../../src/adapters/image/base-store.js';
import { QemuImg } from '../../src/adapters/qemu/qemu-img.js';
import { CowherdError } from '../../src/core/errors.js';
import type { ImportRequest, ImportResult } from '../../src/ports/bases.js';

/** A file that is refused. */
export interface Hostile {
  what: string;
  /** Writes the file `image`. */
  make: () => Promise<unknown>;
  /** The message of the refusal. */
  says: RegExp;
  request?: Partial<ImportRequest>;
}

export const MiB = 1024 ** 2;

/** A directory with a store, an honest image, and the file `image` that is imported. */
export class HostileStore {
  readonly #dir: string;
  readonly store: BaseDirectory;
  /** The content of golden.qcow2. */
  golden: Buffer = Buffer.alloc(0);
  #before: string[] = [];

  private constructor(dir: string) {
    this.#dir = dir;
    this.store = new BaseDirectory(join(dir, 'store'), new QemuImg());
  }

  static async create(): Promise<HostileStore> {
    const lab = new HostileStore(await mkdtemp(join(tmpdir(), 'cwt-hostile-')));
    await buildGolden(lab.at('golden.qcow2'), { filledMiB: 1, virtualMiB: 4 });
    lab.golden = await readFile(lab.at('golden.qcow2'));
    await mkdir(lab.at('store', 'bases'), { recursive: true });
    lab.#before = await lab.#listing();
    return lab;
  }

  at(...parts: string[]): string {
    return join(this.#dir, ...parts);
  }

  run(command: string): Promise<Result> {
    return execa('bash', ['-ec', command], { cwd: this.#dir });
  }

  add(more: Partial<ImportRequest> = {}): Promise<ImportResult> {
    return this.store.import({ path: this.at('image'), name: 'hostile', trustChain: false, ...more });
  }

  /** Whatever the file was, the store is as before. */
  async refusal(more: Partial<ImportRequest> = {}): Promise<CowherdError> {
    const error = await this.add(more).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(await this.#listing()).toEqual(this.#before);
    if (!(error instanceof CowherdError)) throw error ?? new Error('it was accepted');
    expect(error.hint ?? '').not.toBe('');
    // The user has not named a scratch file.
    expect([error.message, error.hint, ...error.details].join('\n')).not.toContain('.partial');
    return error;
  }

  async assertRefused({ make, says, request }: Hostile): Promise<void> {
    await rm(this.at('image'), { force: true });
    await make();
    const error = await this.refusal(request);
    expect(error.code).toBe('BASE_REFUSED');
    expect(error.message).toMatch(says);
  }

  async remove(): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #listing(): Promise<string[]> {
    return (await readdir(this.at('store'), { recursive: true })).sort();
  }
}
