import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect } from 'vitest';
import { buildGolden } from '../../scripts/golden.js';
import { BaseDirectory } from '../../src/adapters/image/base-store.js';
import { QemuImg } from '../../src/adapters/qemu/qemu-img.js';
import { CowherdError } from '../../src/core/errors.js';
import type { ImportResult } from '../../src/ports/bases.js';

/** Generous, since the machine may be busy. Without limits, hostile images take minutes or forever. */
const soonMs = 15_000;

/** A store into which images of unknown origin are imported. */
export class ImportLab {
  dir!: string;
  store!: BaseDirectory;
  /** A valid image, golden.qcow2. */
  golden!: Buffer;

  /** For the tests of this file. */
  static here(): ImportLab {
    const lab = new ImportLab();
    beforeAll(async () => {
      lab.dir = await mkdtemp(join(tmpdir(), 'cwt-hostile-images-'));
      lab.store = new BaseDirectory(lab.at('store'), new QemuImg());
      await buildGolden(lab.at('golden.qcow2'), { filledMiB: 1, virtualMiB: 4 });
      lab.golden = await readFile(lab.at('golden.qcow2'));
      await mkdir(lab.at('store', 'bases'), { recursive: true });
    });
    afterAll(() => rm(lab.dir, { recursive: true, force: true }));
    return lab;
  }

  at(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** The imported base image, or the refusal, which leaves nothing. @throws any other error */
  async add(name: string, format?: 'qcow2' | 'raw', trustChain = false): Promise<ImportResult | CowherdError> {
    const began = performance.now();
    const before = await readdir(this.at('store'), { recursive: true });
    try {
      return await this.store.import({ path: name.startsWith('/') ? name : this.at(name), name: 'hostile', format, trustChain });
    } catch (error) {
      if (!(error instanceof CowherdError)) throw error;
      expect(error.exitCode).toBeOneOf([2, 5, 7]);
      expect(error.hint ?? '').not.toBe('');
      expect(await readdir(this.at('store'), { recursive: true })).toEqual(before);
      return error;
    } finally {
      expect(performance.now() - began).toBeLessThan(soonMs);
    }
  }

  /** Checks that a guest on a fresh overlay sees the disk of the file. */
  async assertSame(name: string, { base }: ImportResult): Promise<void> {
    const overlay = this.at('overlay.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', base.format, '-b', base.path, overlay]);
    await execa('qemu-img', ['compare', '-f', base.format, '-F', 'qcow2', this.at(name), overlay]);
    await rm(overlay);
  }
}
