import { rm } from 'node:fs/promises';
import { removeBase } from '../../../src/services/base/bases.js';
import { spawn } from '../../../src/services/fleet/spawn/spawn.js';
import { teardown } from '../../../src/services/fleet/teardown/teardown.js';
import { exec } from '../../../src/services/guest/exec.js';
import { virsh } from '../lab.js';
import { type CrashMatrix, listed, type Scenario } from './crash-matrix.js';

/** Commands that create clones of a running source VM: a real Linux with unique data in memory and on disk. */
export function cloneScenarios(matrix: CrashMatrix, golden: string, count: number): Record<'spawn' | 'frozen' | 'reset', Scenario> {
  const { lab, host } = matrix;
  const goldenName = `${golden}-001`;
  const inOrder = ['--concurrency', '1', '--boot-concurrency', '1'];
  const ask = async (fleet: string, command: string): Promise<string[]> =>
    (await exec(host, { fleet, via: 'agent', command: ['/bin/sh', '-c', command] })).members.map(({ stdout }) => stdout.trim());

  const startGolden = async (): Promise<void> => {
    if ((await virsh('domstate', goldenName)).trim() !== 'running') await virsh('start', goldenName);
    // A restored agent is connected only a moment later.
    await lab.ok('start', golden, '--wait', 'agent');
  };

  /** The fleet, its guests, the source VM, and all files in the store. Random values are masked. */
  const view = (fleet: string) => async (): Promise<unknown> => {
    const words = 'cat /etc/machine-id /sys/class/net/eth0/address; dropbearkey -y -f /etc/dropbear/*ed25519* | grep ^ssh';
    const own = await ask(fleet, words);
    const others = await ask(golden, words);
    const domstate = (await virsh('domstate', goldenName)).trim();
    const seen = {
      fleet: await matrix.fleet(fleet),
      guests: await ask(fleet, 'hostname; cat /run/in-memory /root/on-disk /sys/class/net/eth0/carrier'),
      alike: [...own, ...others].join('\n').split('\n').length - new Set([...own, ...others].join('\n').split('\n')).size,
      golden: { domstate, memory: await ask(golden, 'cat /run/in-memory /proc/sys/kernel/random/boot_id; hostname') },
      saved: (await host.hypervisor.listSaved()).has(goldenName),
      bases: await listed(lab.path('bases', goldenName)),
    };
    return JSON.parse(
      JSON.stringify(seen)
        .replace(/[0-9a-f]{64}/g, 'DIGEST')
        .replace(/[0-9a-f]{12}(?=\.(qcow2|json|memory|ram|xml))/g, 'D'),
    );
  };
  const [made, kept, again] = ['made', 'kept', 'again'].map((name) => lab.fleet(name)) as [string, string, string];
  const gone = async (fleet: string): Promise<void> => {
    // The other one may be based on the same disk.
    for (const one of [fleet, made, kept]) await teardown(host, { fleet: one, withBase: true }).catch(() => undefined);
    await rm(lab.path('fleets', fleet), { recursive: true, force: true });
    await ask(golden, 'date > /root/moment; sync');
    for (const { name, digest } of (await host.bases.list()).bases.filter((base) => base.name === goldenName))
      await removeBase(host, `${name}@${digest.slice(0, 12)}`);
  };
  const spawnArgs = (fleet: string) => ['spawn', fleet, '--from-running', goldenName, '--count', String(count), ...inOrder];
  return {
    spawn: { name: 'spawn --from-running', fleet: made, setUp: () => gone(made), args: spawnArgs(made), view: view(made) },
    frozen: {
      name: 'spawn --from-running --keep-frozen',
      fleet: kept,
      setUp: async () => {
        await startGolden();
        await gone(kept);
      },
      args: [...spawnArgs(kept), '--keep-frozen'],
      view: async () => {
        const state = (await virsh('domstate', goldenName)).trim();
        await startGolden();
        return [state, await view(kept)()];
      },
    },
    reset: {
      name: 'reset of clones',
      fleet: again,
      setUp: async () => {
        if ((await host.fleets.read(again)) === undefined) await spawn(host, { fleet: again, fromRunning: goldenName, count });
        await ask(again, 'echo mine > /run/in-memory; echo mine > /root/on-disk; sync');
      },
      args: ['reset', again, ...inOrder],
      view: view(again),
    },
  };
}
