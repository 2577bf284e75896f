import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeCloud } from '../../../fakes/openstack/fake-cloud.js';
import { FastClock, openFake } from '../../../fakes/openstack/open-fake.js';
import { readRecording } from '../../../fakes/openstack/recording.js';
import { expectLifecycle, expectRefusals, expectTenant } from '../../../fixtures/openstack/expectations.js';
import { lifecycle, recordedIds, refusals, type Stage, tenant } from '../../../fixtures/openstack/scenarios.js';

/** What was done with a real cloud, done again with its recorded replies. */
const golden = Buffer.from('a small file in place of the golden image');
const settled = { state: 'settled' };
const directory = new URL('../../../fixtures/openstack/', import.meta.url);

let fake: FakeCloud;
afterEach(() => fake.stop());

async function stage(name: string, variables: Record<string, string> = {}): Promise<Stage> {
  const text = JSON.stringify(readRecording(name))
    .replaceAll('SHA512-OF-THE-FILE', createHash('sha512').update(golden).digest('hex'))
    .replaceAll('SHA256-OF-THE-FILE', createHash('sha256').update(golden).digest('hex'));
  fake = await FakeCloud.start(JSON.parse(text));
  const clock = new FastClock();
  return { cloud: await openFake(fake, { clock, variables }), clock, golden, ids: recordedIds };
}

describe('the recorded life of two servers', () => {
  it.each([
    ['lifecycle', '2.90'],
    ['lifecycle-2.52', '2.52'],
  ])('%s is understood', async (name, microversion) => {
    const seen = await lifecycle(await stage(name));
    expect(fake.unknown).toEqual([]);
    expectLifecycle(seen, microversion);
  });

  it('is the same if the cloud fails now and then', async () => {
    const first = await stage('lifecycle');
    let count = 0;
    const isTurn =
      (every: number): (() => boolean) =>
      () =>
        ++count % every === 0;
    const isGet = ({ method }: { method: string }): boolean => method === 'GET';
    fake.fail((request) => isGet(request) && isTurn(5)(), { status: 503, headers: { 'retry-after': '1' } }, 1000);
    fake.fail((request) => isGet(request) && isTurn(7)(), 'cut', 1000);
    fake.fail((request) => request.method === 'POST' && isTurn(9)(), { status: 429, headers: { 'retry-after': '2' } }, 1000);
    const seen = await lifecycle(first);
    expect(fake.unknown).toEqual([]);
    expect(seen).toMatchObject({ deleteVerdicts: [settled, settled], rebuildVerdicts: [settled, settled], imagesLeft: 0 });
    expect(first.cloud.counts.repeated).toBeGreaterThan(10);
  });
});

it('the recorded refusals are errors with codes, and a failed server has the reason of the cloud', async () => {
  const seen = await refusals(await stage('refusals'));
  expect(fake.unknown).toEqual([]);
  expectRefusals(seen);
});

it.each([
  ['tenant', {}],
  [
    'application-credential',
    {
      ...{ OS_AUTH_TYPE: 'v3applicationcredential', OS_APPLICATION_CREDENTIAL_ID: 'i', OS_APPLICATION_CREDENTIAL_SECRET: 'correct-horse' },
    },
  ],
])('%s: a user without administrator rights', async (name, variables) => {
  const seen = await tenant(await stage(name, variables));
  expectTenant(seen);
  expect(fake.unknown).toEqual([]);
  const login = fake.received[0]?.request;
  if (name === 'application-credential') {
    const credential = { id: 'i', secret: 'correct-horse' };
    expect(login).toEqual({ auth: { identity: { methods: ['application_credential'], application_credential: credential } } });
  } else expect(login).toMatchObject({ auth: { scope: { project: { name: 'project', domain: { id: 'default' } } } } });
});

it('a recorded wrong password is an error without the password', async () => {
  await expect(tenant(await stage('wrong-password'))).rejects.toMatchObject({
    code: 'CONNECTION_FAILED',
    status: 401,
    hint: expect.any(String),
  });
});

it('the recordings name no host, address, user or token of the cloud', () => {
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.json'))) {
    const text = readFileSync(new URL(file, directory), 'utf8');
    expect([file, /127\.0\.0\.1|gAAAA|cow-a|"vm"|secret":|password":"[^*]/.exec(text)?.[0]]).toEqual([file, undefined]);
  }
});
