import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bin } from '../../support/lab.js';
import { runHere } from '../../support/run-in-process.js';

/** Which connection a command uses. None of the clouds has settings, so the error names the one that was looked up. */

let home: string;
let file: string;
const environment = (connect = ''): Record<string, string> => ({
  HOME: home,
  XDG_CONFIG_HOME: join(home, '.config'),
  XDG_DATA_HOME: '',
  COWHERD_STORE: '',
  LIBVIRT_DEFAULT_URI: connect,
  OS_CLIENT_CONFIG_FILE: '',
  OS_CLOUD: '',
});
const fleet = { base: 'golden', count: 1 };
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cwt-connection-'));
  file = join(home, 'lab.json');
  await writeFile(file, JSON.stringify({ name: 'lab', ...fleet, connect: 'openstack://of-the-file' }));
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('the connection', () => {
  it.each<[string, string[], string]>([
    ['the flag', ['--connect', 'openstack://of-the-flag'], 'of-the-flag'],
    ['the fleet file, before the environment', [], 'of-the-file'],
  ])('is that of %s', async (_what, words, cloud) => {
    const env = environment('openstack://of-the-environment');
    for (const verb of ['status', 'spawn', 'reset', 'teardown']) {
      const { exitCode, json } = await runHere([verb, '--file', file, ...words], env);
      expect([verb, exitCode, json.error]).toEqual([
        verb,
        5,
        { code: 'FILE_NOT_FOUND', message: expect.stringContaining(`no clouds.yaml for cloud ${cloud} `), hint: expect.any(String) },
      ]);
    }
  });

  it('is that of the environment otherwise', async () => {
    const { json } = await runHere(['list'], environment('openstack://of-the-environment'));
    expect(json.error.message).toContain('no clouds.yaml for cloud of-the-environment ');
  });

  it('of a fleet file is repeated in hints, since they do not name the file', async () => {
    const { stdout } = await execa(process.execPath, [bin, 'checkpoint', '--file', file, '--json'], { env: environment(), reject: false });
    expect(JSON.parse(stdout).error.hint).toContain('cowherd promote --connect openstack://of-the-file MEMBER');
  });

  it('is the same for all fleets of a file', async () => {
    const mixed = join(home, 'mixed.json');
    const fleets = [
      { name: 'a', ...fleet, connect: 'openstack://one' },
      { name: 'b', ...fleet },
    ];
    await writeFile(mixed, JSON.stringify({ fleets }));
    const { exitCode, json } = await runHere(['status', '--file', mixed], environment());
    expect([exitCode, json.error.code, json.error.hint]).toEqual([
      2,
      'BAD_SPEC',
      'Put the fleets of each connection into a file of their own.',
    ]);
  });

  it('must be valid', async () => {
    const { exitCode, json } = await runHere(['list', '--connect', 'openstack://user:secret@cloud'], environment());
    expect([exitCode, json.error.code]).toEqual([2, 'BAD_USAGE']);
    expect(JSON.stringify(json)).not.toContain('secret');
  });
});

it('"cowherd config" shows the store of a cloud', async () => {
  await mkdir(join(home, '.config/openstack'), { recursive: true });
  const auth = { auth_url: 'http://127.0.0.1:5000/v3', username: 'ada', password: 'x', project_name: 'lab', user_domain_id: 'default' };
  await writeFile(
    join(home, '.config/openstack/clouds.yaml'),
    JSON.stringify({ clouds: { lab: { auth: { ...auth, project_domain_id: 'default' } } } }),
  );
  const { exitCode, json } = await runHere(['config', '--connect', 'openstack://lab'], environment());
  const settings = Object.fromEntries(json.settings.map(({ name, value }: { name: string; value: unknown }) => [name, value]));
  expect([exitCode, settings.connect]).toEqual([0, 'openstack://lab']);
  expect(settings.store).toMatch(new RegExp(`^${home}/\\.local/share/cowherd/openstack/127-0-0-1-[0-9a-f]{12}$`));
});
