import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FleetWatch } from '../../../src/adapters/store/fleet-watch.js';

describe('a watch of the store', () => {
  let root: string;
  let stop: AbortController;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-watch-'));
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    await rm(root, { recursive: true, force: true });
  });

  it('reports each fleet whose files, checkpoints or lock change, also in a new store', async () => {
    const seen: string[] = [];
    const ended = new FleetWatch(root, (fleet) => seen.push(fleet)).run(stop.signal);
    const told = async (fleet: string, act: () => Promise<unknown>): Promise<void> => {
      // What is left of the last change.
      await new Promise((resolve) => setTimeout(resolve, 50));
      seen.length = 0;
      await act();
      await vi.waitFor(() => expect(seen).toContain(fleet), { timeout: 20_000 });
      expect(new Set(seen)).toEqual(new Set([fleet]));
    };
    const at = (...parts: string[]): string => join(root, 'fleets', ...parts);
    await mkdir(at('old', 'checkpoints'), { recursive: true });
    await vi.waitFor(() => expect(seen).toContain('old'), { timeout: 20_000 });
    await told('old', () => writeFile(at('old', 'operation.json'), '{}'));
    await told('old', () => writeFile(at('old', 'operation.log'), 'done 1\n', { flag: 'a' }));
    await told('old', () => writeFile(at('old', 'checkpoints', 'old-001.json'), '{}'));
    await told('lab', () => mkdir(at('lab')));
    await told('lab', () => writeFile(at('lab', 'fleet.json'), '{}'));
    await told('lab', () => mkdir(at('lab', 'checkpoints')));
    await told('lab', () => writeFile(at('lab', 'checkpoints', 'lab-001.json'), '{}'));
    await told('lab', () => writeFile(at('.lab.lock'), 'pid 1\n'));
    await told('lab', () => rm(at('lab'), { recursive: true }));
    // A fleet that is created again is watched again.
    await told('lab', () => mkdir(at('lab')));
    await told('lab', () => writeFile(at('lab', 'fleet.json'), '{}'));
    stop.abort();
    await ended;
  });

  it('says what to do if the kernel allows no more watches', async () => {
    for (const name of ['a', 'b', 'c']) await mkdir(join(root, 'fleets', name), { recursive: true });
    const source = new URL('../../../src/adapters/store/fleet-watch.ts', import.meta.url).pathname;
    const script = `const { FleetWatch } = await import(${JSON.stringify(source)});
      await new FleetWatch(${JSON.stringify(root)}, () => {}).run(AbortSignal.timeout(20_000)).catch((error) => console.log(JSON.stringify(error)));
      process.exit()`;
    const run = `echo 2 > /proc/sys/user/max_inotify_watches && exec ${process.execPath} --import tsx --input-type=module -e "$SCRIPT"`;
    const { stdout } = await execa('unshare', ['--user', '--map-root-user', 'sh', '-c', run], { env: { SCRIPT: script } });
    expect(JSON.parse(stdout)).toMatchObject({ code: 'STORE_FAILED', hint: expect.stringContaining('fs.inotify.max_user_watches') });
  });
});
