import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AgentSockets } from '../../../src/adapters/libvirt/agent-sockets.js';
import { FleetDirectory } from '../../../src/adapters/store/fleet-store.js';
import type { Ports } from '../../../src/ports/index.js';
import { withFleetLock } from '../../../src/services/fleet/access.js';
import { holdingFleet } from '../../../src/services/fleet/held-lock.js';

let root: string;
const portsOf = (): Ports => ({ fleets: new FleetDirectory(root, new AgentSockets(true)) }) as unknown as Ports;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cwt-held-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

it('several services can work on a fleet under one lock, which excludes other runs', async () => {
  await holdingFleet(portsOf(), 'web', async (held) => {
    const order: string[] = [];
    for (const step of ['first', 'second']) await withFleetLock(held, 'web', async () => void order.push(step));
    expect(order).toEqual(['first', 'second']);
    await expect(withFleetLock(portsOf(), 'web', async () => undefined)).rejects.toMatchObject({ code: 'LOCKED' });
    // Other fleets are locked as usual.
    await withFleetLock(held, 'db', () =>
      expect(withFleetLock(portsOf(), 'db', async () => undefined)).rejects.toMatchObject({ code: 'LOCKED' }),
    );
    expect(await held.fleets.list()).toEqual([]);
  });
  await withFleetLock(portsOf(), 'web', async () => undefined);
  expect(await readdir(join(root, 'fleets'))).toEqual([]);
});

it('another run may wait for it', async () => {
  const order: string[] = [];
  let begun = (): void => undefined;
  const isHeld = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const first = holdingFleet(portsOf(), 'web', async () => {
    begun();
    await new Promise((resolve) => setTimeout(resolve, 700));
    order.push('first');
  });
  await isHeld;
  await holdingFleet(portsOf(), 'web', async () => void order.push('second'), { waitSeconds: 30 });
  await first;
  expect(order).toEqual(['first', 'second']);
});
