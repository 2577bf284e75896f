import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab } from '../support/lab.js';
import { SmallStore } from '../support/small-store.js';

const factor = Number(process.env.COWHERD_SOAK ?? 1);
/** Step of the remaining space in KiB. */
const stepKib = Math.max(4, Math.round(16 / factor));
const mostKib = 320;

/** Every insufficient amount of space: each command either does everything, or refuses and changes nothing. */
describe('a disk with less and less space', () => {
  let lab: Lab;
  let small: SmallStore;

  beforeAll(async () => {
    lab = await Lab.open();
    small = await SmallStore.mount(lab, 16 * 1024);
    await lab.ok('base', 'add', await lab.golden('golden.qcow2'));
  });

  afterEach(() => small.release());

  afterAll(async () => {
    await lab.close().catch(() => undefined);
    await small.unmount();
    await lab.close();
  });

  const spawning = (fleet: string, ...more: string[]): string[] => [
    'spawn',
    fleet,
    '--base',
    'golden',
    '--count',
    '3',
    '--force',
    ...guest,
    ...more,
  ];

  it.each(['none', 'nocloud'])('spawns all or nothing (seeds: %s)', async (seed) => {
    const fleet = lab.fleet(`spawn-${seed}`);
    const args = spawning(fleet, '--no-start', '--seed', seed);
    await lab.ok(...args);
    const whole = await lab.world(fleet);
    await lab.ok('teardown', fleet, '--yes');
    for (let kib = 0; kib <= mostKib; kib += stepKib) {
      await small.leave(kib);
      const { exitCode, json } = await lab.cowherd(...args, '--json');
      expect([0, 3, 8], `${kib} KiB: ${JSON.stringify(json)}`).toContain(exitCode);
      expect(await small.leftovers(), `${kib} KiB`).toEqual([]);
      if (exitCode !== 0) {
        expect(json.error.hint, `${kib} KiB`).toMatch(/disk is full|[Ff]ree some space/);
        expect((await lab.world(fleet)) as object, `${kib} KiB`).toMatchObject({ members: [], files: [] });
        await small.release();
        await lab.ok(...args);
      }
      expect(await lab.world(fleet), `${kib} KiB`).toEqual(whole);
      await small.release();
      await small.leave(0);
      await lab.ok('teardown', fleet, '--yes');
    }
  });

  it('resets all or none', async () => {
    const fleet = lab.fleet('reset');
    await lab.ok(...spawning(fleet, '--seed', 'nocloud', '--wait', 'console=^OK'));
    const whole = await lab.world(fleet);
    for (let kib = 0; kib <= mostKib; kib += stepKib) {
      await small.leave(kib);
      const { exitCode, json } = await lab.cowherd('reset', fleet, '--json');
      expect([0, 3, 8], `${kib} KiB: ${JSON.stringify(json)}`).toContain(exitCode);
      expect(await lab.world(fleet), `${kib} KiB`).toEqual(whole);
      expect(await small.leftovers(), `${kib} KiB`).toEqual([]);
      await small.release();
      await lab.ok('reset', fleet);
    }
    await lab.ok('teardown', fleet, '--yes');
  });
});
