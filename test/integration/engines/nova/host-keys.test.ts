import { existsSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SeedDirectory } from '../../../../src/adapters/store/seed-store.js';
import type { SshPublicKey } from '../../../../src/core/guest/values.js';
import { fleet, NovaLab } from '../../../support/openstack/nova-lab.js';

/** Which host keys ssh expects of a member. */

let lab: NovaLab;
let seeds: Pick<SeedDirectory, 'sshFiles' | 'learnHost'>;
beforeEach(async () => {
  lab = await NovaLab.open();
  ({ seeds } = (await lab.context()).ports);
});
afterEach(() => lab.close());

it('those that were learned are forgotten when a server is replaced', async () => {
  const member = `${fleet}-002`;
  const isKnown = async (): Promise<boolean> => existsSync((await seeds.sshFiles(fleet))(member).knownHostsFile);
  const learn = (): Promise<void> => seeds.learnHost(fleet, member, ['ssh-ed25519 AAAA' as SshPublicKey]);
  await lab.spawn(2);
  await learn();
  await lab.spawn(3, { base: undefined });
  expect(await isKnown()).toBe(true);
  lab.cloud.removeServer(member);
  await lab.spawn(undefined, { base: undefined });
  expect(await isKnown()).toBe(false);
  await learn();
  await (await lab.engine()).teardown({ fleet, members: ['2'] });
  await lab.spawn(3, { base: undefined });
  expect(await isKnown()).toBe(false);
});

it('those of the seed are expected only of servers that were created with it', async () => {
  const pinned = async (): Promise<boolean[]> => {
    const filesOf = await seeds.sshFiles(fleet);
    return [1, 2, 3].map((index) => filesOf(`${fleet}-00${index}`).isPinned);
  };
  await lab.spawn(1);
  await lab.spawn(2, { base: undefined, spec: { seed: 'nocloud' } });
  expect(await pinned()).toEqual([false, true, false]);
  await lab.spawn(3, { base: undefined });
  expect(await pinned()).toEqual([false, true, true]);
  lab.cloud.removeServer(`${fleet}-001`);
  await lab.spawn(undefined, { base: undefined });
  expect(await pinned()).toEqual([true, true, true]);
});
