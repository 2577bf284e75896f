import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BaseDirectory } from '../../../src/adapters/image/base-store.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { FileLock, lockHolder, requestOf } from '../../../src/adapters/store/lock.js';
import { until } from '../../support/lab.js';

const isRoot = process.getuid?.() === 0;
/** No process has it: the kernel's limit is 2^22. */
const nobody = 5_000_000;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cwt-lock-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const isHeld = async (path: string): Promise<boolean> => (await execa('flock', ['-n', path, 'true'], { reject: false })).exitCode === 1;

/** Runs `work` while another program has the lock. */
async function whileHeld(path: string, work: (pid: number) => Promise<void>): Promise<void> {
  const stranger = execa('flock', ['--no-fork', path, 'sleep', '60'], { reject: false });
  try {
    await until('the lock to be held', () => isHeld(path));
    await work(Number(stranger.pid));
  } finally {
    stranger.kill('SIGKILL');
    await stranger;
  }
}

describe('a lock file', () => {
  it('can be opened by its owner only, even one of an older version, which stays the same file', async () => {
    const [fresh, old] = [join(dir, 'fresh'), join(dir, 'old')];
    await writeFile(old, '', { mode: 0o644 });
    const { ino } = await stat(old);
    for (const path of [fresh, old]) {
      const lock = await FileLock.take(path, 'x');
      expect((await stat(path)).mode & 0o7777).toBe(0o600);
      await lock.release();
    }
    expect((await stat(old)).ino).toBe(ino);
  });

  it.runIf(isRoot)('belongs to the owner of its directory, and to the group where that may write there', async () => {
    const shared = join(dir, 'shared');
    await mkdir(shared);
    await chown(shared, 4321, 8765);
    await chmod(shared, 0o2775);
    const path = join(shared, 'lock');
    const seen = async () => {
      await (await FileLock.take(path, 'x')).release();
      const { uid, gid, mode } = await stat(path);
      return [uid, gid, mode & 0o7777];
    };
    expect(await seen()).toEqual([4321, 8765, 0o660]);
    // The group loses write permission.
    await chmod(shared, 0o755);
    expect(await seen()).toEqual([4321, 8765, 0o600]);
  });
});

describe('the holder of a lock', () => {
  it('is reported with its command, its pid and its start time', async () => {
    const path = join(dir, 'lock');
    const lock = await FileLock.take(path, 'Fleet lab', { verb: 'base add' });
    await expect(FileLock.take(path, 'Fleet lab')).rejects.toMatchObject({
      code: 'LOCKED',
      message: expect.stringMatching(
        new RegExp(
          `^Fleet lab is locked by "cowherd base add" \\(pid ${process.pid}, since \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC\\)$`,
        ),
      ),
    });
    expect(await lockHolder(path)).toMatchObject({ kind: 'run', pid: process.pid, verb: 'base add' });
    await lock.release();
    expect(await lockHolder(path)).toBeUndefined();
  });

  it('is another program, by name and pid, even if a killed run left its note', async () => {
    const path = join(dir, 'lock');
    await whileHeld(path, async (pid) => {
      for (const note of ['', `pid ${nobody}\nstart 1\nverb reset\n`, `pid ${process.pid}\nstart 1\nverb reset\n`]) {
        await writeFile(path, note);
        expect(await lockHolder(path)).toMatchObject({ kind: 'stranger', pid, command: 'sleep' });
      }
      await expect(FileLock.take(path, 'Fleet lab')).rejects.toMatchObject({
        code: 'LOCKED',
        message: `Fleet lab is locked by another program, not cowherd (sleep, pid ${pid})`,
        hint: expect.stringContaining(`ps -fp ${pid}`),
      });
    });
  });

  it('is a tool that outlived its run', async () => {
    const path = join(dir, 'lock');
    const lock = await FileLock.take(path, 'x', { verb: 'reset' });
    const inherited = lock.descriptor as unknown as 'inherit';
    const tool = execa('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', inherited], reject: false });
    await lock.abandon();
    // As after a kill -9 of the run.
    await writeFile(path, `pid ${nobody}\nstart 1\nverb reset\nsince 2026-01-01T00:00:00.000Z\n`);
    try {
      await expect(FileLock.take(path, 'Fleet lab')).rejects.toMatchObject({
        code: 'LOCKED',
        message: `Fleet lab is locked by sleep (pid ${tool.pid}), started by a run of cowherd that has ended (reset, since 2026-01-01 00:00:00 UTC)`,
      });
    } finally {
      tool.kill('SIGKILL');
      await tool;
    }
    const next = await FileLock.take(path, 'x', { verb: 'teardown' });
    expect(await lockHolder(path)).toMatchObject({ kind: 'run', pid: process.pid, verb: 'teardown' });
    await next.release();
  });
});

describe('the lock on base images', () => {
  const open = (verb: string): BaseDirectory => new BaseDirectory(join(dir, 'store'), new QemuImg(), undefined, { verb });

  it('is awaited while another run has it, and the wait names that run', async () => {
    const notes: string[] = [];
    let isDone = false;
    const first = open('promote').locked(async () => {
      await until('the other to wait', async () => notes.length > 0);
      isDone = true;
    });
    await until('the first to have it', () => isHeld(join(dir, 'store', 'bases', '.lock')));
    const listener = (event: { kind: string; text?: string }): void => void (event.kind === 'note' && notes.push(event.text ?? ''));
    await open('base add').locked(async () => expect(isDone).toBe(true), { onProgress: listener });
    await first;
    expect(notes).toEqual([expect.stringContaining(`held by "cowherd promote" (pid ${process.pid}, since`)]);
  });

  it('is awaited for a limited time if another program has it', async () => {
    await open('x').locked(async () => undefined);
    await whileHeld(join(dir, 'store', 'bases', '.lock'), async (pid) => {
      const notes: string[] = [];
      const began = performance.now();
      await expect(
        open('base add').locked(async () => undefined, { onProgress: (event) => event.kind === 'note' && notes.push(event.text) }),
      ).rejects.toMatchObject({
        code: 'LOCKED',
        message: `The directory of base images is locked by another program, not cowherd (sleep, pid ${pid})`,
      });
      expect(performance.now() - began).toBeLessThan(40_000);
      expect(notes).toEqual([expect.stringContaining(`(sleep, pid ${pid})`)]);
    });
  });
});

describe('a lock that another run holds', () => {
  const take = (path: string, waitSeconds: number | undefined, texts: string[], waitSignal?: AbortSignal) =>
    FileLock.take(path, 'Fleet lab', requestOf({ verb: 'stop', waitSeconds, waitSignal, onWait: (text) => texts.push(text) }, 'Fleet lab'));

  it('is awaited for the requested time, and the wait is announced once', async () => {
    const path = join(dir, 'lock');
    const texts: string[] = [];
    const holder = await FileLock.take(path, 'Fleet lab', { verb: 'reset' });
    await expect(take(path, undefined, texts)).rejects.toMatchObject({
      code: 'LOCKED',
      hint: expect.stringContaining('--lock-timeout 5m'),
    });
    expect(texts).toEqual([]);
    await expect(take(path, 1, texts)).rejects.toMatchObject({
      message: expect.stringMatching(/^Fleet lab is locked by "cowherd reset" \(/),
    });
    const next = take(path, 60, texts);
    await until('the wait to be announced', async () => texts.length === 2);
    await holder.release();
    await (await next).release();
    expect(texts).toEqual(
      Array(2).fill(expect.stringMatching(/^Fleet lab is locked by "cowherd reset" \(pid \d+, since .* UTC\)\. Waiting\.$/)),
    );
  });

  it('is not awaited after an interruption, which still allows taking a free lock', async () => {
    const path = join(dir, 'lock');
    const texts: string[] = [];
    const interruption = new AbortController();
    const holder = await FileLock.take(path, 'Fleet lab', { verb: 'reset' });
    const waiting = take(path, 600, texts, interruption.signal);
    waiting.catch(() => undefined);
    await until('the wait to be announced', async () => texts.length === 1);
    interruption.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED', message: expect.stringContaining('locked by "cowherd reset"') });
    await holder.release();
    await (await take(path, 600, texts, interruption.signal)).release();
  });
});
