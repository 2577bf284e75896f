import { readdir, rm } from 'node:fs/promises';
import { execa } from 'execa';
import { addBase, removeBase } from '../../../src/services/base/bases.js';
import { promote } from '../../../src/services/base/promote.js';
import { stop } from '../../../src/services/fleet/power.js';
import { spawn } from '../../../src/services/fleet/spawn/spawn.js';
import { listSnapshots } from '../../../src/services/snapshot/list.js';
import { dropSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { FileServer } from '../download/file-server.js';
import { ForeignDomain } from '../foreign-domains.js';
import { virsh } from '../lab.js';
import type { CrashMatrix, Scenario } from './crash-matrix.js';
import { listed } from './crash-matrix.js';

/** Commands on base images. */
export async function baseScenarios(matrix: CrashMatrix): Promise<Record<string, Scenario>> {
  const { lab, host } = matrix;
  const golden = await lab.golden('golden-of-bases.qcow2', { filledMiB: 1 });
  const fleet = lab.fleet('promote');
  await addBase(host, { path: golden, name: 'ground', trustChain: false }, {});
  await spawn(host, { fleet, base: 'ground', count: 1, spec: { memoryMiB: 16, network: 'none' } });
  await stop(host, { fleet, timeoutMs: 1, force: true });
  const absent = async (name: string) => {
    await removeBase(host, name).catch(() => undefined);
    await rm(lab.path('bases', name), { recursive: true, force: true });
  };
  const view = (name: string) => async () => [await matrix.bases(name, 'ground'), await matrix.fleet(fleet)];
  const promotion = (name: string, ...more: string[]): Scenario => ({
    name,
    setUp: () => absent(name),
    args: ['promote', `${fleet}-001`, '--as', name, ...more],
    view: view(name),
  });
  const server = await FileServer.start();
  matrix.onClose(() => server.close());
  const packed = (await execa('xz', ['-1kc', golden], { encoding: 'buffer' })).stdout;
  const url = server.serve('/pulled.qcow2.xz', { content: Buffer.from(packed), etag: '"1"' });
  return {
    pull: {
      name: 'base pull',
      setUp: async () => {
        await absent('pulled');
        await rm(lab.path('downloads'), { recursive: true, force: true });
      },
      args: ['base', 'pull', url, '--as', 'pulled'],
      view: async () => [
        await matrix.bases('pulled', 'ground'),
        (await listed(lab.path('downloads'))).filter((name) => !name.endsWith('.lock')),
      ],
    },
    add: { name: 'base add', setUp: () => absent('added'), args: ['base', 'add', golden, '--name', 'added'], view: view('added') },
    promote: promotion('flat'),
    promoteLayered: promotion('layer', '--layered'),
    remove: {
      name: 'base remove',
      setUp: async () => {
        await addBase(host, { path: golden, name: 'removed', trustChain: false }, {});
      },
      args: ['base', 'remove', 'removed'],
      view: view('removed'),
      whenDone: [5],
    },
    prune: {
      name: 'base prune',
      setUp: async () => {
        await absent('flat');
        await absent('added');
        await absent('layer');
        await addBase(host, { path: golden, name: 'pruned', trustChain: false }, {});
        await promote(host, { member: [`${fleet}-001`], as: 'pruned-too' });
      },
      args: ['base', 'prune', '--yes'],
      view: async () => [await matrix.bases('pruned', 'pruned-too', 'ground'), await listed(lab.path('bases'))],
    },
  };
}

/** Commands on snapshots of a domain that cowherd did not create. */
export async function snapshotScenarios(matrix: CrashMatrix): Promise<Record<string, Scenario>> {
  const { lab, host } = matrix;
  const domain = await ForeignDomain.define(lab, 'matrix', ['raw', 'qcow2'], { ending: 'halt' });
  const { name } = domain;
  const uuid = (await virsh('domuuid', name)).trim();
  const levels = async () => (await listSnapshots(host, name)).domains[0]?.levels.length ?? 0;
  /** A number of snapshots, and on each disk one byte in the lowest and another in the top layer. */
  const having = async (count: number) => {
    await domain.stop();
    while ((await levels()) > 0) await dropSnapshot(host, { domain: name });
    for (const target of ['vda', 'vdb']) await domain.scribble(target, 1);
    for (let level = 1; level <= count; level++) {
      await takeSnapshot(host, { domain: name, name: `s${level}` });
      for (const target of ['vda', 'vdb']) await domain.scribble(target, level + 1);
    }
    await virsh('start', name);
  };
  const view = async () => {
    const state = await domain.state();
    await domain.stop();
    const held = async (target: string) => {
      for (const byte of [1, 2, 3]) if (await domain.holds(target, byte)) return byte;
      return undefined;
    };
    return {
      state,
      // A completed rollback is repeated with overlays of the next generation.
      xml: ungenerated(await domain.xml()),
      holds: [await held('vda'), await held('vdb')],
      files: (await readdir(lab.path('snapshots', uuid), { recursive: true }).catch(() => [])).map(ungenerated).sort(),
      store: await listed(lab.path('snapshots')),
      levels: (await listSnapshots(host, name)).domains[0]?.levels.map((level) => level.name),
      problems: (await listSnapshots(host, name)).domains[0]?.problems,
    };
  };
  const verb = (what: string, count: number, ...args: string[]): Scenario => ({
    name: `snapshot ${what}`,
    setUp: () => having(count),
    args: ['snapshot', what, name, ...args, '--timeout', '1s', '--force'],
    view,
    // Already done: the name is in use, and dropped or committed snapshots no longer exist.
    whenDone: [2, 3, 5],
  });
  return {
    take: verb('take', 0, '--name', 's1', '--yes'),
    rollback: verb('rollback', 1, '--yes'),
    drop: verb('drop', 1, '--yes'),
    commit: verb('commit', 1, '--yes'),
  };
}

function ungenerated(text: string): string {
  return text.replace(/(vd[ab])\.\d+\.qcow2/g, '$1.qcow2');
}
