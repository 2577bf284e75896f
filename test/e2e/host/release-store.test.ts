import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, Lab, virsh } from '../../support/lab.js';

/**
 * test/fixtures/store-0.1.0 was written by version 0.1.0 on Debian 12: a fleet of three with checkpoints of two, a base image promoted
 * from a member, and a fleet whose reset was killed while it replaced the second of two disks. Images and domains contain its path.
 */
describe('a store of version 0.1.0', () => {
  const fixture = fileURLToPath(new URL('../../fixtures/store-0.1.0/', import.meta.url));
  const images = '/var/lib/libvirt/images';
  const store = join(images, 'cwt-release-010');
  const fleets = ['cwt-release', 'cwt-interrupted'];
  let lab: Lab;

  const remove = async (): Promise<void> => {
    for (const name of (await domains()).filter((name) => fleets.some((fleet) => name.startsWith(`${fleet}-0`)))) {
      await virsh('destroy', name).catch(() => undefined);
      await virsh('undefine', name);
    }
    await rm(store, { recursive: true, force: true });
  };
  const run = (...args: string[]): ReturnType<Lab['answer']> => lab.answer(...args, '--store', store);

  beforeAll(async () => {
    lab = await Lab.open();
    await remove();
    await execa('tar', ['--extract', '--xz', `--file=${join(fixture, 'store.tar.xz')}`, `--directory=${images}`]);
    // As in the original store, where the files still have their inodes and times.
    const golden = join(store, 'bases/golden');
    for (const name of (await readdir(golden)).filter((name) => name.endsWith('.json'))) {
      const record = JSON.parse(await readFile(join(golden, name), 'utf8'));
      const { mtimeNs, ino } = await stat(join(golden, name.replace('.json', '.qcow2')), { bigint: true });
      Object.assign(record.seal, { mtimeNs: String(mtimeNs), inode: String(ino) });
      await writeFile(join(golden, name), JSON.stringify(record));
    }
    for (const name of await readdir(join(fixture, 'domains'))) await virsh('define', join(fixture, 'domains', name));
  });
  afterAll(async () => {
    await remove();
    await lab.close();
  });

  it('is read, completed, changed and removed', async () => {
    const { json: listed } = await run('list');
    expect(listed.fleets.map((row: any) => [row.fleet, row.members])).toEqual([
      ['cwt-interrupted', 2],
      ['cwt-release', 3],
    ]);
    const { json: before } = await run('status', 'cwt-release');
    expect(before.members.map((row: any) => [row.state, row.checkpointAt !== null, row.problems])).toEqual([
      ['shutOff', false, []],
      ['shutOff', true, []],
      ['shutOff', true, []],
    ]);
    const { json: found } = await run('verify', '--fix');
    expect(found.findings.map((one: any) => one.kind).sort()).toEqual(['exposed', 'exposed', 'unfinished']);
    expect((await run('resume', 'cwt-interrupted')).json.counts).toMatchObject({ reset: 2, failed: 0 });
    expect((await run('verify', '--deep')).json.findings).toEqual([]);

    const started = await run('start', 'cwt-release');
    expect(started.json.counts, JSON.stringify(started.json)).toMatchObject({ started: 3, failed: 0 });
    const record = JSON.parse(await readFile(join(store, 'fleets/cwt-release/checkpoints/cwt-release-002.json'), 'utf8'));
    const { stdout } = await execa('qemu-system-x86_64', ['--version']);
    // Only the QEMU that took a checkpoint restores it.
    const outcome = stdout.includes(`version ${record.versions.qemu}`) ? 'restored' : 'reset';
    expect((await run('reset', 'cwt-release', '2-3', '--warm')).json.counts).toMatchObject({ [outcome]: 2, failed: 0 });
    expect((await run('checkpoint', 'cwt-release')).json.counts).toMatchObject({ checkpointed: 3 });
    expect((await run('reset', 'cwt-release', '--warm')).json.counts).toMatchObject({ restored: 3 });
    const added = await run('spawn', 'cwt-release', '--count', '4');
    expect(added.json.counts, JSON.stringify(added.json)).toMatchObject({ created: 1, failed: 0 });

    for (const fleet of fleets) expect((await run('teardown', fleet, '--with-base', '--yes')).exitCode).toBe(0);
    expect((await domains()).filter((name) => fleets.some((fleet) => name.startsWith(fleet)))).toEqual([]);
    expect((await run('verify')).json.findings).toEqual([]);
    expect((await run('base', 'list')).json.bases).toEqual([]);
  });
});
