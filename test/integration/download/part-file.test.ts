import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdtemp, open, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PartFile } from '../../../src/adapters/download/part-file.js';
import { sha256 } from '../../support/download/file-server.js';

const MiB = 1024 ** 2;

describe('the file of a download', () => {
  let scratch: string;
  let path: string;
  let handle: FileHandle;
  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cwt-part-'));
    path = join(scratch, 'part');
    handle = await open(path, 'w+');
  });
  afterEach(async () => {
    await handle.close().catch(() => undefined);
    await rm(scratch, { recursive: true });
  });

  const append = async (part: PartFile, content: Buffer, step: number): Promise<void> => {
    for (let offset = 0; offset < content.length; offset += step) await part.append(content.subarray(offset, offset + step));
  };

  it('has all content in order, however it arrives, also after syncs and a restart', async () => {
    const part = new PartFile(handle, path, false);
    // More than between two syncs.
    const content = Buffer.concat([randomBytes(70 * MiB + 5), Buffer.alloc(9 * MiB), randomBytes(61 * MiB)]);
    await append(part, randomBytes(3 * MiB), MiB / 2);
    await part.restart();
    await append(part, content, 65_521);
    expect(part.bytes).toBe(content.length);
    await part.flush();
    expect((await readFile(path)).equals(content)).toBe(true);
    expect(part.digests().sha256).toBe(sha256(content));
    // The zeros take no space.
    expect((await stat(path)).blocks * 512).toBeLessThan(content.length - 8 * MiB);
    await part.close();
  });

  it('is a correct beginning at any time', async () => {
    const part = new PartFile(handle, path, false);
    const content = randomBytes(20 * MiB);
    for (let offset = 0; offset < content.length; offset += MiB / 4) {
      await part.append(content.subarray(offset, offset + MiB / 4));
      const there = await readFile(path);
      expect(content.subarray(0, there.length).equals(there)).toBe(true);
    }
    await part.close();
  });

  it('reports a write that failed later', async () => {
    const unwritable = await open(path, 'r');
    const part = new PartFile(unwritable, path, false);
    const failure = { code: 'STORE_FAILED', message: expect.stringContaining(`Could not write ${path}`) };
    await expect(append(part, randomBytes(9 * MiB), MiB)).rejects.toMatchObject(failure);
    await part.close();
    const second = new PartFile(await open(path, 'r'), path, false);
    await append(second, randomBytes(10), 10);
    await expect(second.flush()).rejects.toMatchObject(failure);
    await second.close();
  });
});
