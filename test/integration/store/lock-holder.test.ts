import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileLock, lockHolder } from '../../../src/adapters/store/lock.js';

describe('the lock', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-lock-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('excludes others, names the holder, and can be taken again', async () => {
    const path = join(dir, 'lock');
    const lock = await FileLock.take(path, 'Fleet lab');
    await expect(FileLock.take(path, 'Fleet lab')).rejects.toMatchObject({
      code: 'LOCKED',
      message: expect.stringContaining(`pid ${process.pid}`),
    });
    await lock.release();
    await (await FileLock.take(path, 'Fleet lab')).release();
  });

  it('lasts while a child that inherited it lives, and ends with the last of them', async () => {
    const path = join(dir, 'lock');
    const lock = await FileLock.take(path, 'x');
    const child = execa('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', lock.descriptor as unknown as 'inherit'], reject: false });
    await lock.abandon();
    await expect(FileLock.take(path, 'x')).rejects.toMatchObject({ code: 'LOCKED' });
    child.kill('SIGKILL');
    await child;
    await (await FileLock.take(path, 'x')).release();
  });
});

describe('the holder of the fleet lock', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cwt-holder-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('is determined by the lock, not by a live process', async () => {
    const path = join(dir, 'lock');
    expect(await lockHolder(path)).toBeUndefined();
    // Left by a killed run, whose pid was reused.
    await writeFile(path, `pid ${process.pid}\n`);
    expect(await lockHolder(path)).toBeUndefined();
    const lock = await FileLock.take(path, 'x');
    expect(await lockHolder(path)).toMatchObject({ kind: 'run', pid: process.pid });
    await lock.release();
    expect(await lockHolder(path)).toBeUndefined();
  });

  it('can be queried at any time without blocking others', async () => {
    const path = join(dir, 'lock');
    let isOver = false;
    const look = async (): Promise<number> => {
      let looks = 0;
      for (; !isOver; looks++) {
        // As left by a killed run, so the lock is tried.
        await writeFile(path, 'pid 1\n');
        await lockHolder(path);
      }
      return looks;
    };
    const looking = [look(), look()];
    for (let time = 0; time < 20; time++) await (await FileLock.take(path, 'x')).release();
    isOver = true;
    for (const looks of await Promise.all(looking)) expect(looks).toBeGreaterThan(0);
  });
});
