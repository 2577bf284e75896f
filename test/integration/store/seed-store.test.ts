import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SeedDirectory } from '../../../src/adapters/store/seed-store.js';
import type { Seed } from '../../../src/core/guest/seed.js';
import { deriveSshKey, isPublicKey } from '../../../src/core/guest/ssh-keys.js';

const fleet = 'cwt-lab';
const seed = (name: string, text: string, networkConfig?: string): Seed => ({
  instanceId: `${name}-1`,
  digest: 'd'.repeat(16),
  files: { 'meta-data': `instance-id: ${name}\n`, 'user-data': text, 'network-config': networkConfig },
  hasHostKey: true,
});

describe('the seed store, with the real tool', () => {
  let root: string;
  let store: SeedDirectory;
  const at = (...parts: string[]): string => join(root, 'fleets', fleet, ...parts);
  /** A file of an image, read by another program by its Rock Ridge or Joliet name. */
  const inside = async (member: string, name: string, names: '-R' | '-J' = '-R'): Promise<string> =>
    (await execa('isoinfo', ['-i', at('seeds', `${member}.iso`), names, '-x', `/${name}`], { stripFinalNewline: false })).stdout;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-seeds-'));
    store = new SeedDirectory(root);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('writes an image per member that others can read', async () => {
    const long = `#cloud-config\nlong: ${'x'.repeat(5000)}\n`;
    const seeds = new Map([
      ['m-1', seed('m-1', '#cloud-config\na: ü\n')],
      ['m-2', seed('m-2', long)],
    ]);
    await store.stage(fleet, seeds);
    expect(await store.observe(fleet)).toEqual(new Map());
    for (const member of seeds.keys()) await store.place(fleet, member);
    for (const names of ['-R', '-J'] as const) {
      expect((await inside('m-1', 'user-data', names)).trimEnd()).toBe('#cloud-config\na: ü');
      expect((await inside('m-1', 'user-data', names)).replace(/\n+$/, '\n')).not.toContain('x');
      expect((await inside('m-2', 'user-data', names)).trimEnd()).toBe(long.trimEnd());
      expect((await inside('m-2', 'meta-data', names)).trimEnd()).toBe('instance-id: m-2');
    }
    const info = await execa('isoinfo', ['-d', '-i', at('seeds', 'm-1.iso')]);
    expect(info.stdout).toContain('Volume id: cidata');
    expect((await stat(at('seeds', 'm-1.iso'))).mode & 0o777).toBe(0o600);
    expect((await execa('blkid', ['-p', '-o', 'value', '-s', 'LABEL', at('seeds', 'm-2.iso')])).stdout).toBe('cidata');
    expect(await store.allocatedBytes(fleet)).toBeLessThan(2 * 80 * 1024);
  });

  it('knows the current seeds, even after a crash', async () => {
    await store.stage(
      fleet,
      new Map([
        ['m-1', seed('a', '#!/bin/sh')],
        ['m-2', seed('b', '#!/bin/sh', 'version: 2\n')],
      ]),
    );
    await store.place(fleet, 'm-1');
    expect(await store.observe(fleet)).toEqual(new Map([['m-1', { instanceId: 'a-1', digest: 'd'.repeat(16) }]]));
    // A truncated line, and one for a missing seed.
    await writeFile(at('seeds', 'placed.log'), `${await readFile(at('seeds', 'placed.log'), 'utf8')}m-9 x y\nm-1 torn`);
    expect([...(await store.observe(fleet)).keys()]).toEqual(['m-1']);
    await store.stage(fleet, new Map([['m-1', seed('c', '#!/bin/sh')]]));
    await store.place(fleet, 'm-1');
    expect((await store.observe(fleet)).get('m-1')?.instanceId).toBe('c-1');
    expect((await readdir(at('seeds'))).sort()).toEqual(['m-1.iso', 'm-2.iso.new', 'placed.log']);
  });

  it('refuses files that are too large for a seed, and leaves nothing behind', async () => {
    await expect(store.stage(fleet, new Map([['m-1', seed('a', 'x'.repeat(2 ** 20 + 1))]]))).rejects.toMatchObject({
      code: 'BAD_TEMPLATE',
    });
    expect((await readdir(at('seeds'))).filter((name) => name.endsWith('.new'))).toEqual([]);
  });

  it('keeps secrets private', async () => {
    expect(await store.readSecrets(fleet)).toBeUndefined();
    const secrets = { key: Buffer.alloc(32, 3), values: { password: 'x"y', port: 8 } };
    await store.writeSecrets(fleet, secrets);
    expect(await store.readSecrets(fleet)).toEqual(secrets);
    await store.writeSshFiles(fleet, 'private\n', new Map([['m-1', 'ssh-ed25519 AAAA']]));
    for (const path of [at('secrets.json'), at('ssh', 'id_ed25519')]) expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await store.sshFiles(fleet))('m-1')).toEqual({
      identityFile: at('ssh', 'id_ed25519'),
      knownHostsFile: at('ssh', 'known_hosts'),
      isPinned: true,
    });
    expect((await store.sshFiles(fleet))('m-2')).toMatchObject({ knownHostsFile: at('ssh', 'm-2.known_hosts'), isPinned: false });
    await writeFile(at('secrets.json'), '{');
    await expect(store.readSecrets(fleet)).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
  });

  it('derives keys that OpenSSH reads', async () => {
    const key = deriveSshKey(Buffer.alloc(32, 9), 'host x');
    const path = join(root, 'key');
    await writeFile(path, key.privateKey);
    await chmod(path, 0o600);
    expect((await execa('ssh-keygen', ['-y', '-f', path])).stdout).toBe(key.publicKey);
    expect(isPublicKey(`${key.publicKey} me@here`)).toBe(true);
    for (const wrong of [key.privateKey, 'ssh-ed25519', `from="x" ${key.publicKey}`, `${key.publicKey}\nmore`])
      expect(isPublicKey(wrong)).toBe(false);
    expect(deriveSshKey(Buffer.alloc(32, 9), 'host x')).toEqual(key);
  });
});
