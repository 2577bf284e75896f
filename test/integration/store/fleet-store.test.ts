import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentSockets } from '../../../src/adapters/libvirt/agent-sockets.js';
import { Virsh } from '../../../src/adapters/libvirt/virsh.js';
import { FleetDirectory } from '../../../src/adapters/store/fleet-store.js';
import { FileLock, lockHolder } from '../../../src/adapters/store/lock.js';
import { OverlayDirectory } from '../../../src/adapters/store/overlay-store.js';

describe('the fleet store', () => {
  let root: string;
  let store: FleetDirectory;
  let overlays: OverlayDirectory;
  const fleet = 'cwt-lab';
  const image = Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(61_440), Buffer.alloc(4096, 2), Buffer.alloc(123)]);
  const at = (...parts: string[]): string => join(root, 'fleets', fleet, ...parts);

  const operation = {
    version: 1 as const,
    id: 'x',
    verb: 'reset' as const,
    startedAt: new Date().toISOString(),
    targets: [1, 2],
    wasOn: [1],
    start: 'same' as const,
    wholeFleet: false,
    keepInstance: false,
    withBase: false,
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-store-'));
    store = new FleetDirectory(root, new AgentSockets(true));
    overlays = new OverlayDirectory(root);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('places overlays atomically, sparse, and private', async () => {
    await overlays.stage(fleet, ['m-1', 'm-2'], image);
    expect((await overlays.sizes(fleet)).size).toBe(0);
    await overlays.place(fleet, 'm-1');
    const path = at('overlays', 'm-1.qcow2');
    expect((await readFile(path)).equals(image)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await overlays.sizes(fleet)).get('m-1')).toBe(8192);
    expect(await overlays.measure(fleet, image)).toBe(8192);
    // Staged again over what a crash left.
    await writeFile(at('overlays', 'm-2.qcow2.new'), 'torn');
    await overlays.stage(fleet, ['m-2'], image);
    await overlays.place(fleet, 'm-2');
    expect((await readFile(at('overlays', 'm-2.qcow2'))).equals(image)).toBe(true);
  });

  it('removes the fleet’s files, and keeps and reports others', async () => {
    await overlays.stage(fleet, ['m-1'], image);
    await store.prepareStart(fleet, 'm-1');
    await writeFile(at('logs', 'm-1.log.0'), '');
    await writeFile(at('notes.txt'), 'mine');
    await store.removeMemberFiles(fleet, 'm-1', ['m-1']);
    await store.removeMemberFiles(fleet, 'm-1', ['m-1']);
    expect(await store.removeFleet(fleet)).toEqual([at('notes.txt')]);
    await rm(at('notes.txt'));
    expect(await store.removeFleet(fleet)).toEqual([]);
    expect(await readdir(join(root, 'fleets'))).toEqual([]);
  });

  it('keeps fleet.json as long as the operation needs it', async () => {
    await store.beginOperation(fleet, operation);
    // A file that cannot be unlinked shows the order of removal.
    await mkdir(at('fleet.json'));
    await expect(store.removeFleet(fleet)).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect(await readdir(at())).toEqual(['fleet.json']);
  });

  it('unlinks nothing outside the store, whatever the links in it', async () => {
    const outside = join(root, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'm-1.qcow2'), 'precious');
    await mkdir(at(), { recursive: true });
    await symlink(outside, at('overlays'));
    await expect(store.removeMemberFiles(fleet, 'm-1', ['m-1'])).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('leads out'),
    });
    expect(await readFile(join(outside, 'm-1.qcow2'), 'utf8')).toBe('precious');
  });

  it('keeps an operation until it ends', async () => {
    expect(await store.unfinished(fleet)).toBeUndefined();
    await store.beginOperation(fleet, operation);
    await store.markDone(fleet, 2);
    expect(await store.unfinished(fleet)).toEqual({ operation, done: new Set([2]) });
    await store.endOperation(fleet);
    expect(await store.unfinished(fleet)).toBeUndefined();
    await store.beginOperation(fleet, operation);
    await writeFile(at('operation.json'), '{"version":1,');
    await expect(store.unfinished(fleet)).rejects.toMatchObject({ code: 'STATE_DAMAGED', hint: expect.stringContaining('operation.json') });
  });

  it('reads the console in chunks, and from the start if the log was restarted', async () => {
    await store.prepareStart(fleet, 'm-1');
    await writeFile(at('logs', 'm-1.log'), 'hello ');
    const first = await store.readConsole(fleet, 'm-1', 0);
    expect(first).toMatchObject({ text: 'hello ', nextByte: 6 });
    await writeFile(at('logs', 'm-1.log'), 'hi');
    expect(await store.readConsole(fleet, 'm-1', first.nextByte)).toMatchObject({ text: 'hi', nextByte: 2 });
    expect(await store.readConsole(fleet, 'm-1', -1)).toMatchObject({ text: 'i', nextByte: 2 });
    // A new log that is as long as the old one.
    await store.prepareStart(fleet, 'm-1');
    await writeFile(at('logs', 'm-1.log'), 'HELLO ');
    expect(await store.readConsole(fleet, 'm-1', 6, first.life)).toMatchObject({ text: 'HELLO ', nextByte: 6 });
    expect(await store.readConsole(fleet, 'none', 0)).toEqual({ text: '', nextByte: 0 });
  });
});

describe('a console log read in chunks', () => {
  const fleet = 'cwt-lab';
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-console-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it.each(['é', '–', '𝄞'])('gives every %s complete, wherever a chunk ends', async (character) => {
    const store = new FleetDirectory(root, new AgentSockets(true));
    await store.prepareStart(fleet, 'm-1');
    const path = join(root, 'fleets', fleet, 'logs', 'm-1.log');
    // Chunks have 64 KiB, so they end within and after a character.
    const whole = `${'a'.repeat(64 * 1024 - 2)}${character.repeat(40_000)}`;
    const bytes = Buffer.from(whole);
    // The guest has written half a character when it is read.
    await writeFile(path, bytes.subarray(0, -1));
    let [text, at] = ['', 0];
    const readOn = async (): Promise<void> => {
      for (let piece = await store.readConsole(fleet, 'm-1', at); piece.text !== ''; piece = await store.readConsole(fleet, 'm-1', at))
        [text, at] = [text + piece.text, piece.nextByte];
    };
    await readOn();
    expect(text === whole.slice(0, -character.length)).toBe(true);
    await appendFile(path, bytes.subarray(-1));
    await readOn();
    expect(text === whole).toBe(true);
  });
});

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

describe('a virsh that misbehaves', () => {
  const running = 'error: Domain is already active';
  const fakes = fileURLToPath(new URL('../../fakes', import.meta.url));
  const path = process.env.PATH;
  afterEach(() => {
    process.env.PATH = path;
    delete process.env.FAKE_VIRSH;
    delete process.env.FAKE_SCRIPT;
  });
  const open = (behaviour: string): Virsh => {
    process.env.PATH = `${fakes}:${path}`;
    process.env.FAKE_VIRSH = behaviour;
    const times = { timeoutMs: 500, lookAfterLossMs: 1, leastHeldMs: 500 };
    return new Virsh({ uri: 'qemu:///system', sessions: 1, ...times, inherit: () => [], inheritance: () => 0 });
  };

  it('that hangs is killed, and the error names the call', async () => {
    const virsh = open('hang');
    await expect(virsh.start('cwt-x-001')).rejects.toMatchObject({
      code: 'TOOL_TIMEOUT',
      message: expect.stringContaining("start 'cwt-x-001'"),
    });
    await virsh.close();
  });

  it('gets more time to write or read memory', async () => {
    const virsh = open('hang');
    const calls = [virsh.saveManaged('x', 15_000_000), virsh.start('x', 15_000_000), virsh.restorePaused('x', '/y', 15_000_000)];
    for (const call of calls) await expect(call).rejects.toMatchObject({ message: expect.stringContaining('within 2 s') });
    await virsh.close();
  });

  it('that dies is retried once, then reported', async () => {
    const virsh = open('die');
    await expect(virsh.start('cwt-x-001')).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringContaining('out of sorts'),
    });
    await virsh.close();
  });

  const state = (code: number, reason: number): string => `Domain: 'cwt-x-001'\n  state.state=${code}\n  state.reason=${reason}\n`;
  const [booted, startingUp, crashed] = [state(1, 1), state(3, 11), state(5, 3)];
  const busy = 'error: Timed out during operation: cannot acquire state change lock';
  /** @returns how often virsh was called */
  const play = async (script: string[], act: (virsh: Virsh) => Promise<unknown>): Promise<number> => {
    const scratch = await mkdtemp(join(tmpdir(), 'cwt-script-'));
    process.env.FAKE_COUNT = join(scratch, 'count');
    process.env.FAKE_SCRIPT = JSON.stringify(script);
    const virsh = open('');
    await act(virsh);
    const { size } = await stat(process.env.FAKE_COUNT);
    await virsh.close();
    await rm(scratch, { recursive: true });
    return size;
  };

  it.each([
    ['ends it after a while', ['die', running, ...Array(20).fill(startingUp), crashed, 'started', booted], 25],
    ['lets it go on', ['die', running, startingUp, ...Array(6).fill(booted)], 8],
    ['never finishes it: it is ended, then started', ['die', running, ...Array(61).fill(startingUp), 'destroyed', 'started'], 65],
  ])('whose daemon ends during a start: it is polled until the daemon %s', async (_what, script, calls) => {
    expect(await play(script, (virsh) => virsh.start('cwt-x-001'))).toBe(calls);
  });

  it('while another client starts the domain: that start is awaited', async () => {
    expect(await play([running, startingUp, startingUp, booted], (virsh) => virsh.start('cwt-x-001'))).toBe(4);
  });

  it.each([
    ['start', [running, ...Array(61).fill(startingUp), busy, startingUp]],
    ['destroy', [busy, startingUp]],
  ] as const)('and can never end a start (%s): it is said how to end that, without waiting for the lock again', async (verb, script) => {
    const calls = await play([...script], async (virsh) => {
      await expect(virsh[verb]('cwt-x-001')).rejects.toMatchObject({
        code: 'TOOL_FAILED',
        details: [expect.stringContaining('/run/libvirt/qemu/cwt-x-001.xml'), expect.anything()],
        hint: expect.stringContaining('pgrep -f guest=cwt-x-001,'),
      });
    });
    expect(calls).toBe(script.length);
  });

  it('whose list lacks a domain that is being created is queried again, with a pause between', async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'cwt-script-'));
    const uuid = '7a4bd8b1-6f0e-4d37-9f6f-2c7f2f4b6a01';
    const states = "Domain: 'cwt-x-001'\n  state.state=1\n  state.reason=1\n";
    process.env.FAKE_COUNT = join(scratch, 'count');
    process.env.FAKE_SCRIPT = JSON.stringify([...Array(4).fill(['', states]).flat(), `${uuid} cwt-x-001`, states]);
    const virsh = open('');
    const began = performance.now();
    expect(await virsh.listDomains()).toEqual([{ uuid, name: 'cwt-x-001', state: 'running', reason: 'booted' }]);
    // Five immediate queries would all see the same.
    expect(performance.now() - began).toBeGreaterThan(900);
    await virsh.close();
    await rm(scratch, { recursive: true });
  });

  it('that prints warnings is parsed correctly', async () => {
    const virsh = open('warn');
    expect(await virsh.readXml(['cwt-x-001'])).toEqual(new Map([['cwt-x-001', '<domain/>\n']]));
    await virsh.close();
  });

  it('that is missing is reported with its package', async () => {
    process.env.PATH = '/nonexistent';
    const virsh = new Virsh({ uri: 'qemu:///system', sessions: 1, timeoutMs: 500, inherit: () => [], inheritance: () => 0 });
    await expect(virsh.start('x')).rejects.toMatchObject({ code: 'TOOL_MISSING', hint: expect.stringContaining('libvirt-clients') });
    await virsh.close();
  });
});
