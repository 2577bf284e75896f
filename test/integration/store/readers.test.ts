import { chmod, chown, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Readers } from '../../../src/adapters/host/readers.js';
import { makeDirectory } from '../../../src/adapters/store/files/directories.js';

/** Ids without a user or group. */
const [alice, staff, qemu, kin] = [41_001, 41_002, 41_003, 41_004];
const system = async () => ({ uid: qemu, gid: qemu });

describe.runIf(process.getuid?.() === 0)('an image that root restricts', () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-readers-'));
    path = join(dir, 'image');
    await writeFile(path, 'x');
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function restricted(readers: Readers): Promise<[number, number, string, string]> {
    const handle = await open(path, 'r');
    await readers.restrict(handle, path);
    await handle.close();
    const stats = await stat(path);
    return [stats.uid, stats.gid, (stats.mode & 0o7777).toString(8), await readers.judge(stats, await stat(dir))];
  }

  it("belongs to the store's owner, and QEMU reads it by its group", async () => {
    await chown(dir, alice, staff);
    expect(await restricted(new Readers(system, dir))).toEqual([alice, qemu, '440', 'fine']);
  });

  it('is readable by its owner only if QEMU runs as that user', async () => {
    expect(await restricted(new Readers(undefined, dir))).toEqual([0, 0, '400', 'fine']);
    await chown(dir, qemu, qemu);
    expect(await restricted(new Readers(system, dir))).toEqual([qemu, 0, '400', 'fine']);
  });

  it('keeps the group of a shared store only if QEMU is in it', async () => {
    await chown(dir, alice, kin);
    await chmod(dir, 0o2775);
    await chown(path, alice, kin);
    expect(await restricted(new Readers(system, dir))).toEqual([alice, qemu, '440', 'fine']);
  });

  it("keeps the access of a group that the system daemon's QEMU may have, with a session daemon", async () => {
    await chown(path, 0, qemu);
    await chmod(path, 0o444);
    expect(await restricted(new Readers(undefined, dir))).toEqual([0, qemu, '440', 'fine']);
  });

  it("is in a directory that belongs to the store's owner, and to the group of a shared store", async () => {
    const made = join(dir, 'bases', 'golden');
    await chown(dir, alice, kin);
    await makeDirectory(made);
    for (const one of [join(dir, 'bases'), made]) expect(await stat(one)).toMatchObject({ uid: alice, mode: 0o40755 });
    await chmod(dir, 0o2775);
    await makeDirectory(join(dir, 'fleets', 'lab'));
    for (const one of [join(dir, 'fleets'), join(dir, 'fleets', 'lab')])
      expect(await stat(one)).toMatchObject({ uid: alice, gid: kin, mode: 0o42775 });
    // Existing directories stay unchanged.
    await chown(made, 0, 0);
    await makeDirectory(made);
    expect((await stat(made)).uid).toBe(0);
  });

  it('is judged by its mode', async () => {
    const readers = new Readers(system, dir);
    const judge = (uid: number, gid: number, mode: number) => readers.judge({ uid, gid, mode }, { uid: 0, gid: 0, mode: 0o755 });
    expect(await judge(0, qemu, 0o440)).toBe('fine');
    expect(await judge(0, 0, 0o444)).toBe('exposed');
    expect(await judge(0, qemu, 0o444)).toBe('exposed');
    expect(await judge(0, staff, 0o440)).toBe('exposed');
    expect(await judge(0, qemu, 0o400)).toBe('closed');
    expect(await judge(0, staff, 0o400)).toBe('closed');
    expect(await judge(qemu, staff, 0o400)).toBe('fine');
  });
});
