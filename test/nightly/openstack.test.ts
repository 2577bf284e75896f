import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../support/lab.js';
import { NightlyCloud, usersOf } from './openstack/cloud.js';
import { type Comparison, compare, tableOf } from './openstack/comparison.js';
import { killEverywhere } from './openstack/kill-matrix.js';
import { KillFleet } from './openstack/kill-scenarios.js';

/** A cloud on this machine whose two hosts are two libvirtd. openstack/install.sh installs its packages. Takes half an hour without KVM. */

const ready = 'TINY-READY';
const wait = ['--wait', `console=${ready}`, '--timeout', '15m'];
const tiny = ['--flavor', 'cow.tiny', '--network', 'none'];
type Row = Record<string, any>;

/** Removes a cloud and checks that nothing of it is left. */
async function stopped(cloud: NightlyCloud): Promise<void> {
  const { dir } = cloud;
  await cloud.stop();
  await expect(stat(dir)).rejects.toThrow('ENOENT');
  expect(await usersOf(dir)).toEqual([]);
}

/** Waits until the hosts have removed what belonged to servers. @returns what is left after a minute */
async function emptied(cloud: NightlyCloud): Promise<string[]> {
  for (let tries = 0; tries < 30 && (await cloud.leftOnHosts()).length > 0; tries++)
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  return cloud.leftOnHosts();
}

/** What a loop does one after the other, cowherd does at the same time. A spawn takes a request for each server. */
function expectLess(rows: readonly Comparison[]): void {
  console.log(tableOf(rows));
  const [spawn, ...others] = rows;
  for (const { what, cowherd, openstack } of others) {
    expect(cowherd.requests, what).toBeLessThan(openstack.requests);
    expect(cowherd.seconds, what).toBeLessThan(openstack.seconds);
  }
  expect(spawn?.cowherd.seconds).toBeLessThan(1.5 * (spawn?.openstack.seconds ?? 0));
}

describe('a fleet of 12 on OpenStack', () => {
  let cloud: NightlyCloud;
  const fleet = 'lab';
  /** Servers by name. */
  const servers = async (): Promise<Map<string, Row>> =>
    new Map((await cloud.servers()).filter(({ name }) => name.startsWith(`${fleet}-`)).map((server) => [server.name, server]));
  const idsOf = (list: Map<string, Row>): Row => Object.fromEntries([...list].map(([name, { id }]) => [name, id]).sort());
  const idOf = async (name: string): Promise<string> => (await servers()).get(name)?.id;
  const booted = (ids: readonly string[]): Promise<void> =>
    until(
      'the guests to be ready',
      async () => (await Promise.all(ids.map((id) => cloud.console(id)))).every((text) => text.includes(ready)),
      900,
    );

  beforeAll(async () => {
    cloud = await NightlyCloud.start();
  });
  afterAll(() => cloud?.stop());

  it('is spawned from an image that is uploaded once', async () => {
    const added = await cloud.ok('base', 'add', inject('tinyImage'), '--name', 'tiny');
    expect(added).toMatchObject({ name: 'tiny' });
    await cloud.ok('base', 'add', inject('tinyImage'), '--name', 'tiny');
    expect(await cloud.images()).toHaveLength(1);

    const made = await cloud.ok('spawn', fleet, '--base', 'tiny', '--count', '12', ...tiny, ...wait);
    expect(made.counts).toMatchObject({ created: 12, failed: 0 });
    const list = await servers();
    expect(list.size).toBe(12);
    expect(new Set([...list.values()].map((server) => server['OS-EXT-SRV-ATTR:host']))).toEqual(new Set(cloud.hosts));
    expect((await cloud.ok('status', fleet)).counts).toMatchObject({ running: 12, missing: 0 });
    const report = await cloud.ok('report', fleet);
    expect(report).toMatchObject({ estimated: true, fleets: [{ members: 12, hosts: 2 }] });
    // Nothing to do.
    expect((await cloud.ok('spawn', fleet, '--base', 'tiny', '--count', '12', ...tiny)).counts).toMatchObject({
      created: 0,
      unchanged: 12,
    });
  });

  it('is refused if no host has room', async () => {
    const huge = await cloud.cowherd(['spawn', 'huge', '--base', 'tiny', '--count', '1', '--flavor', 'cow.huge', '--network', 'none']);
    expect(huge.exitCode).not.toBe(0);
    expect(JSON.stringify(huge.json)).toMatch(/[Nn]o valid host/);
    await cloud.ok('teardown', 'huge', '--yes');
  });

  it('loses what guests have written with a reset, and keeps its servers', async () => {
    const before = idsOf(await servers());
    const [first, second] = [before['lab-001'], before['lab-002']];
    expect(await cloud.guest(first, 'echo mine > /root/mark; sync; cat /root/mark')).toBe('mine');
    await cloud.ok('stop', fleet, '2');
    await cloud.ok('start', fleet, '2', ...wait);
    expect(await cloud.guest(second, 'cat /etc/bootcount')).toBe('2');

    const reset = await cloud.ok('reset', fleet, ...wait);
    expect(reset.counts).toMatchObject({ reset: 12, failed: 0 });
    expect(idsOf(await servers())).toEqual(before);
    expect(await cloud.guest(first, 'ls /root')).toBe('');
    expect(await cloud.guest(second, 'cat /etc/bootcount')).toBe('1');
  });

  it('moves to an image of a member, after a canary that fails and one that does not', async () => {
    const before = idsOf(await servers());
    await cloud.guest(before['lab-003'], 'echo promoted > /root/promoted; sync');
    await cloud.guest(before['lab-005'], 'echo mine > /root/mark; sync');
    await cloud.ok('stop', fleet, '3');
    expect(await cloud.ok('promote', 'lab-003', '--as', 'tiny-2')).toMatchObject({ name: 'tiny-2' });
    await cloud.ok('start', fleet, '3', ...wait);

    const broken = join(cloud.scratch, 'broken.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', broken, '64M']);
    await cloud.ok('base', 'add', broken, '--name', 'broken');
    const tinyId = (await cloud.images()).find(({ name }) => name === 'tiny').id;
    const failed = await cloud.cowherd([
      'rebase',
      fleet,
      '--base',
      'broken',
      '--canary',
      '1',
      '--wait',
      `console=${ready}`,
      '--timeout',
      '30s',
    ]);
    expect(failed.exitCode).toBe(4);
    expect(failed.json.counts).toMatchObject({ failed: 1 });
    const images = [...(await servers()).values()].map(({ image }) => image.id);
    expect(images.filter((id) => id === tinyId)).toHaveLength(11);
    expect(await cloud.guest(before['lab-005'], 'cat /root/mark')).toBe('mine');

    const rebased = await cloud.ok('rebase', fleet, '--base', 'tiny-2', '--canary', '1', ...wait);
    expect(rebased.counts).toMatchObject({ rebased: 12, failed: 0 });
    expect(idsOf(await servers())).toEqual(before);
    for (const name of ['lab-001', 'lab-003', 'lab-012']) {
      expect(await cloud.guest(await idOf(name), 'ls /root; cat /root/promoted')).toBe('promoted\npromoted');
    }
  });

  it('leaves nothing after a teardown', async () => {
    await cloud.ok('teardown', fleet, '--yes');
    for (const name of ['broken', 'tiny-2']) await cloud.ok('base', 'remove', name);
    expect(await cloud.servers()).toEqual([]);
    expect((await cloud.images()).map(({ name }) => name)).toEqual(['tiny']);
    expect(await emptied(cloud)).toEqual([]);
    expect(await cloud.leftInStore()).toEqual([]);
  });

  it('is in the same state after kill -9 at any change and resume', async () => {
    const second = join(cloud.scratch, 'second.qcow2');
    await execa('qemu-img', ['convert', '-c', '-O', 'qcow2', inject('tinyImage'), second]);
    await cloud.ok('base', 'add', second, '--name', 'tiny-2');
    const killed = new KillFleet(cloud, { first: 'tiny', second: 'tiny-2' }, tiny);
    const losses: Row = {};
    try {
      for (const [verb, scenario] of Object.entries(killed.scenarios)) {
        const result = await killEverywhere(cloud, scenario);
        console.log(`kill -9: ${verb} (${result.seconds.toFixed(1)} s) at ${result.tried} points, ${result.losses.length} differ`);
        if (result.losses.length > 0) losses[verb] = result.losses;
      }
    } finally {
      await cloud.cowherd(['teardown', killed.name, '--yes']);
      await cloud.cowherd(['base', 'remove', 'tiny-2']);
    }
    expect(losses).toEqual({});
    expect(await cloud.servers()).toEqual([]);
    expect((await cloud.images()).map(({ name }) => name)).toEqual(['tiny']);
  });

  it('takes less than the client of OpenStack', async () => {
    await cloud.countRequests();
    const rows = await compare(cloud, {
      ...{ count: 12, base: 'tiny', spawnFlags: tiny, createFlags: ['--flavor', 'cow.tiny', '--nic', 'none'], settle: booted },
    });
    expectLess(rows);
  });

  it('leaves no image, and the cloud no process, mount or file', async () => {
    await cloud.ok('base', 'remove', 'tiny');
    expect(await cloud.images()).toEqual([]);
    expect(await cloud.servers()).toEqual([]);
    expect(await emptied(cloud)).toEqual([]);
    await stopped(cloud);
  });
});

describe('100 servers without guests on OpenStack', () => {
  let cloud: NightlyCloud;
  beforeAll(async () => {
    cloud = await NightlyCloud.start({ fake: true });
  });
  afterAll(() => cloud?.stop());

  it('take less than with the client of OpenStack', async () => {
    await cloud.ok('base', 'add', inject('tinyImage'), '--name', 'tiny');
    await cloud.countRequests();
    const rows = await compare(cloud, {
      ...{
        count: 100,
        base: 'tiny',
        spawnFlags: tiny,
        createFlags: ['--flavor', 'cow.tiny', '--nic', 'none'],
        settle: async () => undefined,
      },
    });
    expectLess(rows);
    await cloud.ok('base', 'remove', 'tiny');
    await stopped(cloud);
  });
});
