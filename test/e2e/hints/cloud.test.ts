import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StatefulCloud } from '../../fakes/openstack/stateful/stateful-cloud.js';
import { follow, type Place } from '../../support/hints/follow.js';
import { bin } from '../../support/lab.js';

/** What hints about fleets in a cloud say is done, literally, and helps. */
describe('hints about fleets on OpenStack', () => {
  let cloud: StatefulCloud;
  let place: Place;

  beforeEach(async () => {
    cloud = await StatefulCloud.start({ msPerRead: 700, networks: ['private'], quota: { instances: 6 } });
    cloud.addImage({ name: 'golden' });
    cloud.addImage({ name: 'other', sha512: '6'.repeat(128) });
    const scratch = await mkdtemp(join(tmpdir(), 'cwt-hints-'));
    const env = { ...process.env, ...cloud.environment, COWHERD_STORE: join(scratch, 'store'), LIBVIRT_DEFAULT_URI: undefined };
    place = { scratch, env } as unknown as Place;
  });
  afterEach(async () => {
    await cloud.stop();
    await rm(place.scratch, { recursive: true, force: true });
  });

  async function answer(...words: string[]): Promise<{ exitCode: number | undefined; json: any }> {
    const argv = [bin, ...words, '--connect', 'openstack:///', '--json'];
    const { exitCode, stdout } = await execa(process.execPath, argv, {
      env: place.env,
      cwd: place.scratch,
      reject: false,
      extendEnv: false,
    });
    return { exitCode, json: JSON.parse(stdout) };
  }

  async function ok(...words: string[]): Promise<any> {
    const { exitCode, json } = await answer(...words);
    expect(`${words.join(' ')}: exit ${exitCode} ${exitCode === 0 ? '' : JSON.stringify(json)}`).toBe(`${words.join(' ')}: exit 0 `);
    return json;
  }

  const spawn = (count = 2): Promise<unknown> =>
    ok('spawn', 'lab', '--base', 'golden', '--count', String(count), '--flavor', 'cow.tiny', '--network', 'network=auto');
  /** The only member error of an answer. */
  const memberHint = (json: any): string => json.members.find(({ error }: { error?: unknown }) => error !== undefined).error.hint;
  const running = (): string[] => cloud.servers.map(({ name }) => `${name} ${cloud.statusOf(name)}`).sort();
  const both = ['lab-001 ACTIVE', 'lab-002 ACTIVE'];

  it('a member without a server: spawn', async () => {
    await spawn();
    cloud.world.servers.delete(cloud.server('lab-002').id);
    const { exitCode, json } = await answer('reset', 'lab');
    expect([exitCode, json.counts]).toMatchObject([4, { reset: 1, failed: 1 }]);
    await follow(place, memberHint(json));
    expect(running()).toEqual(both);
  });

  it('a member in state ERROR: reset', async () => {
    await spawn();
    cloud.failNext('rebuild', 'lab-001');
    await answer('reset', 'lab', '1');
    const { exitCode, json } = await answer('spawn', 'lab');
    expect(exitCode).toBe(4);
    await follow(place, memberHint(json));
    expect(running()).toEqual(both);
  });

  it('an image that was deleted: rebase', async () => {
    await spawn();
    cloud.world.images.delete(cloud.image('golden').id);
    const { exitCode, json } = await answer('reset', 'lab');
    expect([exitCode, json.error.code]).toEqual([7, 'BASE_CHANGED']);
    await follow(place, json.error.hint.replace('NAME', 'other'));
    await ok('reset', 'lab');
    expect(running()).toEqual(both);
  });

  it('another base image: rebase', async () => {
    await spawn();
    const { json } = await answer('spawn', 'lab', '--base', 'other');
    await follow(place, json.error.hint);
    expect((await ok('status', 'lab')).base.name).toBe('other');
  });

  it('a lost record: status --recover; and user-data for new members', async () => {
    await ok('spawn', 'lab', '--base', 'golden', '--count', '2', '--flavor', 'cow.tiny', '--seed', 'nocloud');
    await rm(join(place.scratch, 'store'), { recursive: true });
    const lost = await answer('spawn', 'lab', '--base', 'golden', '--count', '3', '--flavor', 'cow.tiny');
    await follow(place, lost.json.error.hint);
    const { json } = await answer('spawn', 'lab', '--count', '3');
    await follow(place, json.error.hint.replace('--user-data FILE', '--seed nocloud'));
    expect(running()).toEqual([...both, 'lab-003 ACTIVE']);
    expect(cloud.server('lab-003').userData).not.toBeNull();
  });

  it('a missing flavor, and a quota that does not suffice', async () => {
    const { json } = await answer('spawn', 'lab', '--base', 'golden', '--count', '9');
    const [flavor = ''] = /cow\.tiny/.exec(json.error.hint) ?? [];
    const second = await answer('spawn', 'lab', '--base', 'golden', '--count', '9', '--flavor', flavor);
    expect(second.json.error.code).toBe('PREFLIGHT_FAILED');
    const [, fits = ''] = /\((\d+) more fit\)/.exec(JSON.stringify(second.json.error)) ?? [];
    expect(cloud.servers).toEqual([]);
    await ok('spawn', 'lab', '--base', 'golden', '--count', fits, '--flavor', flavor);
    expect(cloud.servers.length).toBe(6);
  });

  it('a base image in use: rebase the fleets', async () => {
    await spawn();
    await ok('promote', 'lab-001', '--as', 'mine', '--stop');
    await ok('rebase', 'lab', '--base', 'mine');
    const { json } = await answer('base', 'remove', 'mine');
    expect(json.error.code).toBe('BASE_IN_USE');
    await follow(place, json.error.hint.replace('OTHER', 'golden'));
    await ok('base', 'remove', 'mine');
  });

  it('a running member that is to be promoted: stop', async () => {
    await spawn();
    const { json } = await answer('promote', 'lab-001', '--as', 'mine');
    await follow(place, json.error.hint);
    await ok('promote', 'lab-001', '--as', 'mine');
    expect(cloud.image('mine').isProtected).toBe(true);
  });
});
