import { randomUUID } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentSockets } from '../../../src/adapters/libvirt/agent-sockets.js';
import { FleetDirectory } from '../../../src/adapters/store/fleet-store.js';
import { OverlayDirectory } from '../../../src/adapters/store/overlay-store.js';
import type { FleetRecord } from '../../../src/core/fleet/record.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';

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

  it.each([
    ['this host', undefined, 'openstack', /^Fleet cwt-lab is on a cloud \(openstack\), not on this host$/, 'openstack://CLOUD'],
    ['a cloud', 'openstack', undefined, /^Fleet cwt-lab is on this host, not on a cloud \(openstack\)$/, 'qemu:///system'],
  ])('of %s refuses fleets of another platform, also one that is being created', async (_what, engine, other, message, hint) => {
    const place = (name: string | undefined) => ({
      ...(name === undefined ? {} : { placement: { engine: name, settings: {}, images: {} } }),
    });
    const record: FleetRecord = {
      ...{ version: 1, id: randomUUID(), name: fleet, base: { name: 'golden', digest: 'a'.repeat(64) }, spec: defaultDomainSpec },
      ...{ createdAt: new Date().toISOString(), freshOverlayBytes: 0, members: [] },
    };
    const storeOf = (name: string | undefined): FleetDirectory => new FleetDirectory(root, new AgentSockets(true), {}, name);
    await storeOf(other).beginOperation(fleet, { ...operation, verb: 'spawn', record: { ...record, ...place(other) } });
    const refusal = { code: 'BAD_USAGE', message: expect.stringMatching(message), hint: expect.stringContaining(hint) };
    await expect(storeOf(engine).unfinished(fleet)).rejects.toMatchObject(refusal);
    expect((await storeOf(other).unfinished(fleet))?.operation.verb).toBe('spawn');
    await storeOf(other).write({ ...record, ...place(other) });
    await expect(storeOf(engine).read(fleet)).rejects.toMatchObject(refusal);
    expect((await storeOf(other).read(fleet))?.name).toBe(fleet);
  });

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
    await store.markFailed(fleet, 3, 'TOOL_FAILED');
    expect(await store.unfinished(fleet)).toEqual({ operation, done: new Set([2]), failed: new Map([[3, 'TOOL_FAILED']]) });
    await store.endOperation(fleet);
    expect(await store.unfinished(fleet)).toBeUndefined();
    expect(await store.history(fleet)).toMatchObject([{ id: operation.id, verb: operation.verb, done: '2', failed: { 3: 'TOOL_FAILED' } }]);
    await store.beginOperation(fleet, operation);
    await writeFile(at('operation.json'), '{"version":1,');
    await expect(store.unfinished(fleet)).rejects.toMatchObject({ code: 'STATE_DAMAGED', hint: expect.stringContaining('operation.json') });
  });

  it('keeps a bounded history', async () => {
    const [time, startedAt] = [operation.startedAt, operation.startedAt];
    const old = { time, startedAt, id: 'old', verb: 'reset', done: '1-9', failed: {}, diskBytes: 1 };
    await mkdir(at(), { recursive: true });
    await writeFile(at('history.jsonl'), `${JSON.stringify(old)}\n`.repeat(3_000));
    await store.beginOperation(fleet, { ...operation, id: 'new' });
    await store.markDone(fleet, 1);
    await store.endOperation(fleet);
    expect((await stat(at('history.jsonl'))).size).toBeLessThan(300_000);
    expect((await store.history(fleet)).map(({ id }) => id)).toEqual(['old', 'new']);
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
