import { createHash } from 'node:crypto';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, Lab, virsh } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';

interface Manifest {
  commands: Record<string, { flags: Record<string, unknown> }>;
}

/** Every verb with --dry-run, with what it would change at stake: running guests, reserved addresses, checkpoints, files to import. */
describe('--dry-run', () => {
  let lab: Lab;
  let network: TestNetwork;
  let fleet: string;
  let foreign: string;
  let newer: string;
  let known: string[];
  beforeAll(async () => {
    lab = await Lab.open();
    network = await TestNetwork.open(lab.id, 10, 40, { isPersistent: true });
    [fleet, foreign] = [lab.fleet('dry'), `${lab.fleet('source')}-vm`];
    const on = ['--memory', '16MiB', '--network', `network=${network.name}`];
    await lab.ok('spawn', fleet, '--base', await lab.golden('golden.qcow2'), '--count', '3', ...on);
    await lab.ok('checkpoint', fleet, '1');
    // One of them is stopped.
    await lab.ok('stop', fleet, '3', '--force', '--timeout', '1s');
    newer = await lab.golden('newer.qcow2', { filledMiB: 1 });
    await lab.ok('base', 'add', newer, '--name', 'added');
    newer = await lab.golden('newest.qcow2', { filledMiB: 2 });
    const disk = await lab.golden('source.qcow2', { filledMiB: 3 });
    await lab.defineForeign(
      foreign,
      `<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda'/></disk></devices>`,
    );
    known = await world();
  });
  afterAll(async () => {
    await lab.close();
    await network.close();
  });

  /** Every file of the store with its content, and libvirt's view of this lab's domains and network. */
  const world = async (): Promise<string[]> => {
    const files = await readdir(lab.store, { recursive: true });
    const stored = await Promise.all(
      files.map(async (file) => {
        const path = join(lab.store, file);
        const { mode, uid, gid, size, mtimeMs, ctimeMs, ino, isFile } = await lstat(path).then((stats) => ({
          ...stats,
          isFile: stats.isFile(),
        }));
        // A running guest may write to its own disk.
        const isGuests = /\/(overlays|logs)\//.test(file);
        const digest =
          isFile && !isGuests
            ? createHash('sha256')
                .update(await readFile(path))
                .digest('hex')
            : '';
        return `${file} ${mode} ${isGuests ? '' : `${uid} ${gid} ${size} ${mtimeMs} ${ctimeMs}`} ${ino} ${digest}`;
      }),
    );
    const own = (await domains()).filter((name) => name.includes(lab.id)).sort();
    const looks = ['domid', 'domstate --reason', 'dumpxml --inactive', 'dumpxml', 'snapshot-list', 'dominfo'];
    const commands = [
      ...own.flatMap((name) => looks.map((look) => `${look} ${name}`)),
      `net-dumpxml ${network.name}`,
      `net-dumpxml --inactive ${network.name}`,
    ];
    // CPU time increases while guests are running.
    const told = (await virsh(commands.join('; '))).replace(/^CPU time:.*$/gm, '');
    return [...stored.sort(), ...own, ...told.split('\n')];
  };

  const cases: Array<[verb: string, words: () => string[], exitCode: number]> = [
    ['spawn', () => [lab.fleet('new'), '--base', newer, '--count', '2', '--network', `network=${network.name}`], 0],
    ['spawn', () => [fleet, '--count', '5'], 0],
    ['spawn', () => [fleet, '--memory', '24MiB'], 0],
    ['spawn', () => [fleet, '--memory', '24MiB', '--network', 'none'], 3],
    ['spawn', () => [fleet, '--disk', '1MiB'], 4],
    ['spawn', () => [lab.fleet('made'), '--from-domain', foreign, '--count', '1'], 0],
    ['spawn', () => [lab.fleet('warm'), '--from-running', foreign, '--count', '1'], 3],
    ['start', () => [fleet], 0],
    ['start', () => [fleet, '--force'], 0],
    ['stop', () => [fleet], 0],
    ['stop', () => [fleet, '1-2', '--force'], 0],
    ['reset', () => [fleet], 0],
    ['reset', () => [fleet, '2-3', '--start', 'all'], 0],
    ['reset', () => [fleet, '1', '--warm'], 0],
    ['checkpoint', () => [fleet, '1-2'], 0],
    ['checkpoint', () => [fleet, '1', '--drop'], 0],
    ['rebase', () => [fleet, '--base', 'added'], 0],
    ['rebase', () => [fleet, '--base', newer], 0],
    ['rebase', () => [fleet, '--base', 'added', '--keep-drift'], 4],
    ['teardown', () => [fleet, '1', '--yes'], 0],
    ['teardown', () => [fleet, '--with-base', '--yes'], 0],
  ];

  it.each(cases)('of %s changes neither the store nor libvirt (case %#)', async (verb, words, exitCode) => {
    const before = known;
    const dry = await lab.answer(verb, ...words(), '--dry-run');
    known = await world();
    expect(known).toEqual(before);
    expect([dry.exitCode, dry.json.error?.message]).toEqual([exitCode, exitCode === 3 ? expect.any(String) : undefined]);
    // The run would have changed something.
    if (exitCode === 0) expect(dry.json.plan.members.length).toBeGreaterThan(0);
  });

  it('is tested here for every verb that has it', async () => {
    const path = fileURLToPath(new URL('../../../oclif.manifest.json', import.meta.url));
    const { commands } = JSON.parse(await readFile(path, 'utf8')) as Manifest;
    const verbs = Object.entries(commands).flatMap(([id, { flags }]) => ('dry-run' in flags ? [id] : []));
    // test/e2e/base/prepare.test.ts has that of base prepare.
    cases.push(['base:prepare', () => [], 0]);
    expect(verbs.sort()).toEqual([...new Set(cases.map(([verb]) => verb))].sort());
  });
});
