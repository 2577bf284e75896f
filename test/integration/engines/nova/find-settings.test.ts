import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CowherdError } from '../../../../src/core/errors.js';
import type { CloudSettings } from '../../../../src/engines/nova/core/settings.js';
import { findSettings } from '../../../../src/engines/nova/settings/find-settings.js';

const secret = 'correct horse: 0123 #battery';
const cloud = (name: string, url: string, rest = ''): string =>
  `clouds:\n  ${name}:\n    auth: {auth_url: '${url}', username: u, password: '${secret}', project_name: p}\n${rest}`;

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cwt-clouds-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

async function file(path: string, text: string): Promise<string> {
  await mkdir(dirname(join(home, path)), { recursive: true });
  await writeFile(join(home, path), text);
  return join(home, path);
}

function find(uri: string, environment: Record<string, string> = {}): Promise<CloudSettings> {
  return findSettings(uri, {
    environment: { HOME: home, ...environment },
    workingDirectory: join(home, 'work'),
    systemDirectory: join(home, 'etc'),
  });
}

async function errorOf(promise: Promise<unknown>): Promise<CowherdError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CowherdError);
  const found = error as CowherdError;
  expect(found.hint).toEqual(expect.any(String));
  expect(inspect(found, { depth: 20 })).not.toContain('correct horse');
  return found;
}

describe('clouds.yaml', () => {
  it('is the first one of OS_CLIENT_CONFIG_FILE, ./, ~/.config/openstack and /etc/openstack', async () => {
    const url = async (variables = {}): Promise<string> => (await find('openstack://lab', variables)).authUrl;
    await file('etc/clouds.yaml', cloud('lab', 'https://etc'));
    expect(await url()).toBe('https://etc/v3');
    await file('.config/openstack/clouds.yml', cloud('lab', 'https://user'));
    expect(await url()).toBe('https://user/v3');
    await file('work/clouds.yaml', cloud('lab', 'https://work:5000/v3/'));
    expect(await url()).toBe('https://work:5000/v3');
    const named = await file('other.yaml', cloud('lab', 'https://named/identity'));
    expect(await url({ OS_CLIENT_CONFIG_FILE: named })).toBe('https://named/identity/v3');
  });

  it('of OS_CLOUD is used for openstack:///', async () => {
    await file('work/clouds.yaml', cloud('lab', 'https://work'));
    expect(await find('openstack:///', { OS_CLOUD: 'lab' })).toMatchObject({ title: 'cloud lab', source: join(home, 'work/clouds.yaml') });
  });

  it('gets secrets from secure.yaml, and keeps values as they are written', async () => {
    await file(
      'work/clouds.yaml',
      'clouds:\n  lab:\n    auth: {auth-url: http://x, username: 007, project_name: 1e3}\n    region-name: yes\n',
    );
    await file('.config/openstack/secure.yaml', 'clouds:\n  lab:\n    auth:\n      password: 0123\n');
    const { login, region } = await find('openstack://lab');
    expect(login).toMatchObject({ user: { name: '007', domain: { id: 'default' } }, project: { name: '1e3', domain: { id: 'default' } } });
    expect([login.method === 'password' && login.password.reveal(), region]).toEqual(['0123', 'yes']);
  });

  it('has region, interface, TLS and domains', async () => {
    const rest = `    interface: internalURL\n    regions: [R1]\n    verify: false\n    cacert: ca.pem\n    cert: ~/c.pem\n    key: /k.pem\n    image_endpoint_override: https://glance/\n`;
    await file(
      'work/clouds.yaml',
      cloud('lab', 'https://x', rest).replace('username: u', 'username: u, user_domain_name: D, project_domain_id: e'),
    );
    expect(await find('openstack://lab')).toMatchObject({
      ...{ interface: 'internal', region: 'R1', endpoints: { image: 'https://glance' } },
      tls: { isVerified: false, caFile: join(home, 'work/ca.pem'), certFile: join(home, 'c.pem'), keyFile: '/k.pem' },
      login: { user: { domain: { name: 'D' } }, project: { domain: { id: 'e' } } },
    });
  });

  it('may have application credentials, by id or by name', async () => {
    const auth = (text: string): string =>
      `clouds:\n  lab:\n    auth_type: v3applicationcredential\n    auth: {auth_url: http://x, ${text}}\n`;
    await file('work/clouds.yaml', auth('application_credential_id: i, application_credential_secret: s3cr'));
    expect((await find('openstack://lab')).login).toMatchObject({ method: 'application-credential', credential: { id: 'i' } });
    await file('work/clouds.yaml', auth('application_credential_name: n, username: u, application_credential_secret: s3cr'));
    expect((await find('openstack://lab')).login).toMatchObject({
      credential: { name: 'n', user: { name: 'u', domain: { id: 'default' } } },
    });
    await file('work/clouds.yaml', auth('application_credential_id: i'));
    expect((await errorOf(find('openstack://lab'))).message).toContain('auth.application_credential_secret');
  });

  it.each([
    ['is missing', undefined, 'FILE_NOT_FOUND', 'clouds.yaml'],
    ['has no such cloud', cloud('labs', 'https://x'), 'BAD_USAGE', 'no cloud lab'],
    ['has no clouds', 'cloud: {}', 'BAD_USAGE', 'no clouds'],
    ['is invalid', `clouds:\n  lab:\n    auth: {password: '${secret}\n`, 'BAD_USAGE', 'invalid YAML'],
    ['has wrong types', `clouds:\n  lab:\n    auth: ['${secret}']\n`, 'BAD_USAGE', 'Cloud lab'],
    ['has no auth_url', `clouds:\n  lab:\n    auth: {password: '${secret}'}\n`, 'BAD_USAGE', 'auth.auth_url'],
    ['has no password', 'clouds:\n  lab:\n    auth: {auth_url: http://x, username: u, project_name: p}\n', 'BAD_USAGE', 'auth.password'],
    [
      'has no project',
      `clouds:\n  lab:\n    auth: {auth_url: http://x, username: u, password: '${secret}'}\n`,
      'BAD_USAGE',
      'auth.project_name',
    ],
    ['has a password in its URL', cloud('lab', 'https://u:correct horse@x'), 'BAD_USAGE', 'auth.auth_url'],
    ['has version 2', cloud('lab', 'https://x/v2.0'), 'NOT_SUPPORTED', 'version 2.0'],
    ['has another login', cloud('lab', 'https://x', '    auth_type: v3oidcpassword\n'), 'NOT_SUPPORTED', 'login'],
    ['has a profile only', 'clouds:\n  lab:\n    profile: vendor\n', 'NOT_SUPPORTED', 'profile'],
    ['has another interface', cloud('lab', 'https://x', `    interface: '${secret}'\n`), 'BAD_USAGE', 'interface'],
    ['has another verify', cloud('lab', 'https://x', `    verify: '${secret}'\n`), 'BAD_USAGE', 'verify'],
    ['has endless aliases', `a: &a [x]\nb: &b [${'*a,'.repeat(150)}]\nclouds: *b`, 'BAD_USAGE', 'clouds.yaml'],
    ['is binary', '\u0000\ufffd', 'BAD_USAGE', 'clouds.yaml'],
  ])('that %s is an error without secrets', async (_name, text, code, message) => {
    if (text !== undefined) await file('work/clouds.yaml', text);
    const error = await errorOf(find('openstack://lab'));
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
  });

  it('of another user in the working directory is refused', async () => {
    const path = await file('work/clouds.yaml', cloud('lab', 'https://x'));
    await chmod(path, 0o666);
    expect((await errorOf(find('openstack://lab'))).message).toContain('every user can write to it');
    if (process.getuid?.() !== 0) return;
    await chmod(path, 0o644);
    await chown(path, 65534, 65534);
    expect((await errorOf(find('openstack://lab'))).message).toContain('belongs to another user');
    expect((await find('openstack://lab', { OS_CLIENT_CONFIG_FILE: path })).authUrl).toBe('https://x/v3');
  });
});

describe('the OS_* variables', () => {
  const variables = { OS_AUTH_URL: 'https://x:5000', OS_USERNAME: 'u', OS_PASSWORD: secret, OS_PROJECT_NAME: 'p' };

  it('are the cloud of openstack:///', async () => {
    const more = {
      OS_REGION_NAME: 'R',
      OS_ENDPOINT_TYPE: 'adminURL',
      OS_INSECURE: 'true',
      OS_USER_DOMAIN_NAME: 'D',
      OS_DEFAULT_DOMAIN: 'e',
    };
    expect(await find('openstack:///', { ...variables, ...more })).toMatchObject({
      ...{ authUrl: 'https://x:5000/v3', region: 'R', interface: 'admin', tls: { isVerified: false }, source: 'the environment' },
      login: { user: { name: 'u', domain: { name: 'D' } }, project: { name: 'p', domain: { id: 'e' } } },
    });
  });

  it.each(['OS_AUTH_URL', 'OS_USERNAME', 'OS_PASSWORD', 'OS_PROJECT_NAME'])('%s is named if it is missing', async (name) => {
    const error = await errorOf(find('openstack:///', { ...variables, [name]: '' }));
    expect([error.code, error.message]).toEqual(['BAD_USAGE', expect.stringContaining(name)]);
  });
});

it.each(['openstack://a/b', 'openstack:lab', `openstack://u:${encodeURIComponent(secret)}@lab`, 'openstack://%E0', 'qemu:///system'])(
  '%s is no cloud',
  async (uri) => {
    const error = await errorOf(find(uri));
    expect([error.code, error.message.includes('correct')]).toEqual(['BAD_USAGE', false]);
  },
);

it('secrets are never printed', async () => {
  await file('work/clouds.yaml', cloud('lab', 'https://x'));
  const settings = await find('openstack://lab');
  for (const text of [
    inspect(settings, { depth: 20, showHidden: true }),
    JSON.stringify(settings),
    `${(settings.login as any).password}`,
  ]) {
    expect(text).toContain('***');
    expect(text).not.toContain('correct horse');
  }
});
