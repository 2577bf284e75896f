import { spawnFleet } from 'cowherd';
import { expect, it } from 'vitest';

// The golden image: npm run tiny-linux -- tiny.qcow2
const base = process.env.GOLDEN ?? 'tiny.qcow2';

/** One VM serves a file over HTTP, and two others fetch it: a test that a mock cannot replace. */
it('three VMs speak with each other, and start again from a clean disk', async () => {
  await using fleet = await spawnFleet({
    base,
    count: 3,
    spec: { memoryMiB: 128, seed: 'nocloud', network: `network=${process.env.NETWORK ?? 'default'}` },
    wait: 'agent,ssh',
  });
  const [server] = fleet.members;

  await fleet.exec('mkdir -p /www && hostname > /www/index.html && httpd -h /www', { members: ['1'] });
  const fetched = await fleet.exec(['wget', '-q', '-O', '-', `http://${server?.host}/`], { members: ['2-3'] });
  expect(fetched.members.map((member) => member.stdout.trim())).toEqual([server?.name, server?.name]);

  await fleet.reset({ wait: 'agent' });
  const after = await fleet.exec('ls -d /www', { via: 'agent' });
  expect(after.members.map((member) => member.exitCode)).toEqual([1, 1, 1]);
});
