import { rm } from 'node:fs/promises';
import { execa } from 'execa';
import { addBase } from '../../../src/services/base/bases.js';
import { checkpoint } from '../../../src/services/checkpoint/take.js';
import { start, stop } from '../../../src/services/fleet/power.js';
import { rebase } from '../../../src/services/fleet/rebase/rebase.js';
import { spawn } from '../../../src/services/fleet/spawn/spawn.js';
import { teardown } from '../../../src/services/fleet/teardown/teardown.js';
import { guest } from '../lab.js';
import type { CrashMatrix, Scenario } from './crash-matrix.js';
import { sha256 } from './crash-matrix.js';

const seeded = [...guest, '--seed', 'nocloud'];
const spec = { memoryMiB: 16, network: 'none', seed: 'nocloud' } as const;
/** For a deterministic order of changes. */
const inOrder = ['--concurrency', '1', '--boot-concurrency', '1'];

/** Commands on fleets of two or three small guests with seeds. */
export async function fleetScenarios(matrix: CrashMatrix): Promise<Record<string, Scenario>> {
  const { lab, host } = matrix;
  const golden = await lab.golden('golden.qcow2', { filledMiB: 1 });
  const other = await lab.golden('other.qcow2', { filledMiB: 2 });
  await addBase(host, { path: golden, name: 'one', trustChain: false }, {});
  await addBase(host, { path: other, name: 'two', trustChain: false }, {});
  const there = async (fleet: string, count: number, more: object = {}) => {
    await spawn(host, { fleet, base: 'one', count, spec, ...more });
  };
  const gone = async (fleet: string) => {
    await teardown(host, { fleet }).catch(() => undefined);
    await rm(lab.path('fleets', fleet), { recursive: true, force: true });
  };
  const off = (fleet: string, ...members: string[]) => stop(host, { fleet, members, timeoutMs: 1, force: true });
  const make = (name: string, parts: Omit<Scenario, 'name' | 'fleet' | 'view' | 'args'> & { args(fleet: string): string[] }): Scenario => {
    const fleet = lab.fleet(name);
    return { ...parts, name, fleet, args: parts.args(fleet), view: () => matrix.fleet(fleet) };
  };
  const fresh = lab.fleet('spawn');
  const grown = lab.fleet('grow');
  const again = lab.fleet('reset');
  const down = lab.fleet('down');
  const [based, on, halt, moved, kept, tpm, small, iced, thawed] = [
    ...['based', 'start', 'stop', 'rebase', 'keep', 'tpm', 'compact', 'iced', 'thawed'],
  ].map((name) => lab.fleet(name)) as [string, string, string, string, string, string, string, string, string];
  const overlay = (fleet: string, index: number) => lab.overlay(fleet, `${fleet}-00${index}`);

  return {
    spawn: make('spawn', {
      setUp: () => gone(fresh),
      args: (fleet) => ['spawn', fleet, '--base', 'one', '--count', '2', ...seeded, ...inOrder],
    }),
    grow: make('grow', {
      setUp: async () => {
        await teardown(host, { fleet: grown, members: ['2'] }).catch(() => undefined);
        await there(grown, 1);
      },
      args: (fleet) => ['spawn', fleet, '--count', '2', ...inOrder],
    }),
    reset: make('reset', {
      setUp: async () => {
        await there(again, 2);
        await off(again, '2');
      },
      args: (fleet) => ['reset', fleet, ...inOrder],
    }),
    teardown: make('down', {
      setUp: () => there(down, 2),
      args: (fleet) => ['teardown', fleet, '--yes', ...inOrder],
      whenDone: [5],
    }),
    teardownWithBase: {
      name: 'teardown --with-base',
      fleet: based,
      setUp: async () => {
        await addBase(host, { path: golden, name: based, trustChain: false }, {});
        await there(based, 1, { base: based });
      },
      args: ['teardown', based, '--yes', '--with-base', ...inOrder],
      view: async () => [await matrix.fleet(based), await matrix.bases(based)],
      whenDone: [5],
    },
    start: make('start', {
      setUp: async () => {
        await there(on, 2);
        await off(on);
      },
      args: (fleet) => ['start', fleet, ...inOrder],
    }),
    stop: make('stop', {
      setUp: () => there(halt, 2),
      args: (fleet) => ['stop', fleet, '--timeout', '1s', '--force', '--concurrency', '1'],
    }),
    rebase: make('rebase', {
      setUp: async () => {
        await there(moved, 2, { base: undefined }).catch(() => there(moved, 2));
        await rebase(host, { fleet: moved, base: 'one' });
        await start(host, { fleet: moved });
        await off(moved, '2');
      },
      args: (fleet) => ['rebase', fleet, '--base', 'two', ...inOrder],
    }),
    rebaseKeepDrift: make('keep', {
      setUp: async () => {
        await there(kept, 2, { base: undefined }).catch(() => there(kept, 2));
        await off(kept);
        await rebase(host, { fleet: kept, base: 'one', keepDrift: true });
        // Its canary was started.
        await off(kept);
      },
      args: (fleet) => ['rebase', fleet, '--base', 'two', '--keep-drift', ...inOrder],
    }),
    resetWithTpm: make('tpm', {
      setUp: async () => {
        await there(tpm, 1, { spec: { ...spec, tpm: true } });
        await off(tpm);
      },
      args: (fleet) => ['reset', fleet, '--start', 'all', ...inOrder],
    }),
    checkpoint: {
      ...make('iced', {
        setUp: async () => {
          await there(iced, 2);
          // The second member has an earlier checkpoint.
          await checkpoint(host, { fleet: iced, drop: true });
          await checkpoint(host, { fleet: iced, members: ['2'] });
        },
        args: (fleet) => ['checkpoint', fleet, ...inOrder],
      }),
      view: async () => [await matrix.fleet(iced), await held(iced, 1), await held(iced, 2)],
    },
    warmReset: {
      ...make('thawed', {
        setUp: async () => {
          await there(thawed, 2);
          await checkpoint(host, { fleet: thawed });
          await off(thawed, '2');
        },
        args: (fleet) => ['reset', fleet, '--warm', ...inOrder],
      }),
      view: async () => [await matrix.fleet(thawed), await held(thawed, 1), await held(thawed, 2)],
    },
    compact: {
      ...make('compact', {
        setUp: async () => {
          await there(small, 2, { base: undefined }).catch(() => there(small, 2));
          await off(small);
          for (const index of [1, 2])
            await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 8M 2M', '-c', 'write -z 8M 2M', overlay(small, index)]);
        },
        args: (fleet) => ['compact', fleet, '--concurrency', '1'],
      }),
      view: async () => [await matrix.fleet(small), await contents(overlay(small, 1)), await contents(overlay(small, 2))],
    },
  };

  /** The disk contains exactly its complete checkpoint. */
  async function held(fleet: string, index: number): Promise<unknown> {
    const name = `${fleet}-00${index}`;
    const record = await host.checkpoints.read(fleet, name);
    const tags = await host.checkpoints.tags(overlay(fleet, index));
    const digest = (await host.checkpoints.held(overlay(fleet, index), record?.tag ?? ''))?.digest;
    return { own: tags.map((tag) => tag === record?.tag), whole: digest !== undefined && digest === record?.digests[name] };
  }

  async function contents(path: string): Promise<string> {
    const raw = `${lab.scratch}/contents.raw`;
    await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, raw]);
    // Guests count their boots in their own sector.
    await execa('dd', ['if=/dev/zero', `of=${raw}`, 'bs=1M', 'count=1', 'conv=notrunc'], { reject: false });
    return sha256(raw);
  }
}
