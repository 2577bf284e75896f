import { expect, it } from 'vitest';
import { Secret } from '../../../../src/engines/nova/core/secret.js';
import type { CloudSettings, Login } from '../../../../src/engines/nova/core/settings.js';
import { storeName } from '../../../../src/engines/nova/core/store-name.js';

const login: Login = {
  method: 'password',
  user: { name: 'ada', domain: { name: 'Default' } },
  password: new Secret('one'),
  project: { name: 'lab', domain: { id: 'default' } },
};
const settings: Pick<CloudSettings, 'authUrl' | 'region' | 'login'> = {
  authUrl: 'https://Cloud.example.org:5000/v3',
  region: 'RegionOne',
  login,
};
const credential: Login = { method: 'application-credential', credential: { id: 'c1' }, secret: new Secret('one') };

it('is the host of the cloud and a digest, and always the same', () => {
  expect(storeName(settings)).toMatch(/^cloud-example-org-[0-9a-f]{12}$/);
  expect(storeName(settings)).toBe(storeName(structuredClone({ ...settings, login: { ...login, password: undefined } }) as never));
  // A store must be found again by the next release.
  expect(storeName(settings)).toMatchInlineSnapshot(`"cloud-example-org-6f2b63c1c5bc"`);
});

it.each<[string, Partial<CloudSettings>]>([
  ['another cloud', { authUrl: 'https://cloud.example.org:5001/v3' }],
  ['another region', { region: 'RegionTwo' }],
  ['the only region', { region: undefined } as never],
  ['another user', { login: { ...login, user: { name: 'bob', domain: { name: 'Default' } } } }],
  ['a user of another domain', { login: { ...login, user: { name: 'ada', domain: { name: 'Other' } } } }],
  ['a domain with an id like that name', { login: { ...login, user: { name: 'ada', domain: { id: 'Default' } } } }],
  ['another project', { login: { ...login, project: { id: 'lab' } } }],
  ['an application credential', { login: credential }],
])('differs for %s', (_what, change) => expect(storeName({ ...settings, ...change })).not.toBe(storeName(settings)));

it('does not depend on the secret, nor on the order of properties', () => {
  expect(storeName({ ...settings, login: { ...login, password: new Secret('two') } })).toBe(storeName(settings));
  expect(storeName({ ...settings, login: { ...login, user: { domain: { name: 'Default' }, name: 'ada' } } })).toBe(storeName(settings));
  expect(storeName({ ...settings, login: { ...credential, secret: new Secret('two') } as Login })).toBe(
    storeName({ ...settings, login: credential }),
  );
});

it.each([
  ['http://127.0.0.1:5000/v3', /^127-0-0-1-[0-9a-f]{12}$/],
  ['http://[::1]:5000/v3', /^1-[0-9a-f]{12}$/],
  [`https://${'long.'.repeat(30)}example/v3`, /^[a-z0-9-]{1,40}-[0-9a-f]{12}$/],
])('of %s is a plain file name', (authUrl, pattern) => expect(storeName({ ...settings, authUrl })).toMatch(pattern));
