import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, guest, Lab, virsh } from '../../support/lab.js';

/** A dry run changes nothing, shows what would change, and exits like the real run. */
describe('a dry run', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    // No accelerator result is cached: the store does not exist.
    lab = await Lab.open({ isProbed: false });
    golden = await lab.golden('golden.qcow2', { filledMiB: 1 });
  });
  afterAll(() => lab.close());

  /** Every file of the store with its size and times, and this lab's domains. */
  const world = async (): Promise<string[]> => {
    const files = await readdir(lab.store, { recursive: true }).catch(() => ['(no store)']);
    const described = await Promise.all(
      files.map(async (file) => {
        const stats = await lstat(join(lab.store, file)).catch(() => undefined);
        return `${file} ${stats?.mode} ${stats?.size} ${stats?.mtimeMs} ${stats?.ino}`;
      }),
    );
    return [...described.sort(), ...(await domains()).filter((name) => name.includes(lab.id))];
  };

  /** Runs a verb with --dry-run, which must change nothing, and then for real. @returns both exit codes and the dry run's document */
  const both = async (...args: string[]) => {
    const before = await world();
    const dry = await lab.answer(...args, '--dry-run');
    expect(await world()).toEqual(before);
    const real = await lab.answer(...args);
    return { codes: [dry.exitCode, real.exitCode], dry: dry.json, real: real.json };
  };

  it('of a first spawn needs no store and imports no image', async () => {
    const fleet = lab.fleet('first');
    const { codes, dry, real } = await both('spawn', fleet, '--base', golden, '--count', '2', '--no-start', ...guest);
    expect(codes).toEqual([0, 0]);
    const digest = createHash('sha256')
      .update(await readFile(golden))
      .digest('hex');
    expect(dry.base).toEqual({ name: 'golden', digest });
    expect(real.base).toEqual(dry.base);
    expect(dry.notes).toContain(`base golden@${digest.slice(0, 12)} would be imported`);
    expect(dry.plan.members.map((member: { steps: string[] }) => member.steps)).toEqual([
      ['overlay', 'define'],
      ['overlay', 'define'],
    ]);
    // The second time the image is in the store.
    const other = await lab.answer('spawn', lab.fleet('other'), '--base', golden, '--count', '1', ...guest, '--dry-run');
    expect(other.json.notes).toContain(`base golden@${digest.slice(0, 12)} was already in the store`);
  });

  it('names what changes, from which value to which', async () => {
    const fleet = lab.fleet('first');
    const changes = ['--memory', '24MiB', '--vcpus', '2', '--var', 'role=web', '--disk', '1MiB', '--disk-cache', 'unsafe'];
    const before = await world();
    const shown = await lab.cowherd('spawn', fleet, '--count', '3', '--no-start', ...changes, '--dry-run');
    const words = 'memory 16 → 24 MiB, vCPUs 1 → 2, disk cache writeback → unsafe, variable role default → web, disk data1 added';
    expect(shown.stdout).toContain(`2 members 1-2: create disks, define  (no disk data1, ${words}`);
    expect(shown.stdout).toContain('1 member 3: create disks, define  (no overlay');
    expect(shown.stdout).toContain('This was a dry run: nothing was changed.');
    expect([shown.exitCode, await world()]).toEqual([0, before]);
  });

  it('exits like the real run if that is refused as a whole', async () => {
    const fleet = lab.fleet('first');
    const other = await lab.golden('other.qcow2', { filledMiB: 1 });
    await writeFile(join(lab.scratch, 'page.qcow2'), '<html></html>'.padEnd(1024));
    const fresh = ['spawn', lab.fleet('fresh'), '--count', '1', ...guest];

    const memory = await both('spawn', fleet, '--memory', '8TiB');
    expect(memory.codes).toEqual([3, 3]);
    // The free space varies.
    const withoutFree = (report: object): string => JSON.stringify(report).replace(/[\d.]+ \w+(?= (?:is|are) available)/, 'some');
    expect(withoutFree(memory.dry.refusal)).toBe(withoutFree(memory.real.error));
    expect(memory.dry.plan.members[0].why).toContain('memory 16 → 8388608 MiB');
    const shown = await lab.cowherd('spawn', fleet, '--memory', '8TiB', '--dry-run');
    expect(shown.stdout).toMatch(/This would be refused: 2 guests of 8388608 MiB need .* are available\n {2}→ 0 of them fit/);

    const network = await both(...fresh.slice(0, -2), '--base', golden, '--network', 'network=cwt-none');
    expect([network.codes, network.dry.refusal.message]).toEqual([[3, 3], expect.stringContaining('cwt-none not found')]);
    expect((await both('spawn', fleet, '--base', other, '--count', '2')).codes).toEqual([2, 2]);
    expect((await both(...fresh, '--base', join(lab.scratch, 'page.qcow2'))).codes).toEqual([7, 7]);
    expect((await both(...fresh, '--base', join(lab.scratch, 'none.qcow2'))).codes).toEqual([5, 5]);
    expect((await both('spawn', fleet, '--count', '1')).codes).toEqual([2, 2]);
  });

  it('exits like the real run if members are refused or an operation is unfinished', async () => {
    const fleet = lab.fleet('unlike');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', '--no-start', ...guest);
    const foreign = `${fleet}-001`;
    await virsh('undefine', foreign);
    await lab.defineForeign(foreign);
    for (const verb of [
      ['spawn', fleet],
      ['reset', fleet, '--start', 'none'],
      ['checkpoint', fleet],
    ]) {
      const { codes, dry } = await both(...verb);
      expect([verb[0], codes[0]]).toEqual([verb[0], codes[1]]);
      expect([verb[0], codes[0]]).toEqual([verb[0], verb[0] === 'spawn' ? 7 : 4]);
      if (verb[0] !== 'spawn') expect(dry.plan.refused[0].name).toBe(foreign);
    }
    await virsh('undefine', foreign);
    await lab.ok('spawn', fleet, '--no-start');

    await lab.faulty({ KILL_ON: '^unlink .*operation.json$', KILL_AT: '1' }, 'reset', fleet);
    expect((await lab.answer('status', fleet)).json.unfinished).toBeTruthy();
    for (const verb of [
      ['spawn', fleet],
      ['reset', fleet],
      ['rebase', fleet, '--base', golden],
      ['checkpoint', fleet],
      ['teardown', fleet, '1', '--yes'],
    ])
      expect([verb[0], (await both(...verb)).codes]).toEqual([verb[0], [3, 3]]);
    const { codes } = await both('teardown', fleet, '--yes');
    expect(codes).toEqual([0, 0]);
  });

  it('of a lab knows an image that an earlier fleet of the file would import', async () => {
    const image = await lab.golden('shared.qcow2');
    const common = 'count: 1, memory: 16, network: none';
    const file = join(lab.scratch, 'lab.yaml');
    await writeFile(
      file,
      `fleets:\n  - { name: ${lab.fleet('a')}, base: ${image}, ${common} }\n  - { name: ${lab.fleet('b')}, base: shared, ${common} }\n`,
    );
    const before = await world();
    const { exitCode, json } = await lab.answer('spawn', '--file', file, '--dry-run');
    expect([exitCode, await world()]).toEqual([0, before]);
    expect(json.fleets.map(({ base }: { base: { name: string } }) => base.name)).toEqual(['shared', 'shared']);
  });

  it('of a rebase to a file imports nothing either', async () => {
    const fleet = lab.fleet('first');
    const newer = await lab.golden('newer.qcow2', { filledMiB: 1 });
    const before = await world();
    const { exitCode, json } = await lab.answer('rebase', fleet, '--base', newer, '--dry-run');
    expect([exitCode, json.base.name, await world()]).toEqual([0, 'newer', before]);
  });
});
