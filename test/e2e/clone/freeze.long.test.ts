import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { describe, expect, inject, it } from 'vitest';
import { CloneLab } from '../../support/clone-lab.js';
import { virsh } from '../../support/lab.js';
import { cloneScenarios } from '../../support/scenarios/clone-scenarios.js';
import { CrashMatrix } from '../../support/scenarios/crash-matrix.js';

/** A spawn of clones that was killed while their source VM was frozen. */
describe('the freeze of a source VM', () => {
  const { lab, golden, goldenName, run } = CloneLab.use();

  it('loses nothing of a source VM whose freeze was killed', async () => {
    const matrix = await CrashMatrix.open(lab);
    const { spawn } = cloneScenarios(matrix, golden, 1);
    const { expected } = await matrix.undisturbed(spawn);
    expect(expected).toMatchObject({
      golden: { domstate: 'running' },
      saved: false,
      alike: 0,
      bases: ['D.json', 'D.memory', 'D.qcow2', 'D.ram'],
    });
    const losses = await matrix.runAt(spawn, [{ on: '^virsh managedsave', late: true }], expected);
    expect(losses).toEqual([]);
    await lab.ok('teardown', spawn.fleet ?? '', '--with-base', '--yes');
    await matrix.host.close();
  });

  it('reports a freeze that was killed, and continues it with its options', async () => {
    const begun = lab.fleet('begun');
    const uuid = (await virsh('domuuid', goldenName)).trim();
    const asked = { count: 2, keepFrozen: false, start: false };
    const freeze = {
      version: 1,
      domain: goldenName,
      uuid,
      startedAt: new Date().toISOString(),
      ...asked,
      addresses: [],
      hostKeyTypes: [],
      memoryMiB: 128,
    };
    await mkdir(lab.path('fleets', begun), { recursive: true });
    await writeFile(lab.path('fleets', begun, 'freeze.json'), JSON.stringify(freeze));
    const hint = `cowherd resume ${begun}`;
    expect((await lab.answer('status', begun)).json.error.hint).toContain(hint);
    expect((await lab.answer('spawn', begun, '--base', inject('tinyImage'), '--count', '1')).json.error).toMatchObject({
      code: 'UNFINISHED_OPERATION',
      hint: `Finish it first: ${hint}`,
    });
    const { findings } = (await lab.answer('verify', begun)).json;
    expect(findings).toMatchObject([{ kind: 'unfinished', hint: `Finish it: ${hint}` }]);
    // After the undo, nothing is left of it.
    await mkdir(lab.path('fleets', `${begun}-b`));
    await copyFile(lab.path('fleets', begun, 'freeze.json'), lab.path('fleets', `${begun}-b`, 'freeze.json'));
    expect((await lab.ok('teardown', `${begun}-b`, '--yes')).notes).toEqual([`${goldenName} was resumed`]);
    expect(await readdir(lab.path('fleets'))).not.toContain(`${begun}-b`);
    // --no-start was given then, but not now.
    expect((await lab.ok('resume', begun)).counts).toMatchObject({ created: 2, started: 0, failed: 0 });
    expect((await virsh('domstate', `${begun}-002`)).trim()).toBe('shut off');
    expect((await lab.answer('start', begun)).exitCode).toBe(4);
    expect(await run(golden, 'cat /run/in-memory')).toEqual(['of-the-golden']);
    await lab.ok('teardown', begun, '--with-base', '--yes');
  });

  it('keeps disk and memory if a resume is refused, until they are removed', async () => {
    const kept = lab.fleet('kept');
    await run(golden, 'date > /root/moment; sync');
    // Disk and memory are noted, but the base image's record does not include the memory yet; the source VM is resumed.
    const faults = { KILL_AT: '1', KILL_ON: '^virsh start', KILL_LATE: '1' };
    const args = ['spawn', kept, '--from-running', goldenName, '--count', '1'];
    expect(await lab.faulty(faults, ...args)).toMatchObject({ signal: 'SIGKILL' });
    const taken = async () => (await readdir(lab.path('bases', goldenName)).catch(() => [])).filter((name) => !name.startsWith('.')).length;
    expect(await taken()).toBe(4);
    await lab.defineForeign(`${kept}-001`);
    expect((await lab.answer('resume', kept)).json.error).toMatchObject({ code: 'FOREIGN_DOMAIN' });
    expect(await taken()).toBe(4);
    expect(await readdir(lab.path('fleets', kept))).toContain('freeze.json');
    await lab.ok('teardown', kept, '--yes', '--dry-run');
    expect(await taken()).toBe(4);
    const { notes } = await lab.ok('teardown', kept, '--yes');
    expect(notes.join()).toMatch(/base \S+ removed/);
    expect(await taken()).toBe(0);
    expect(await readdir(lab.path('fleets'))).not.toContain(kept);
    expect((await virsh('domstate', `${kept}-001`)).trim()).toBe('shut off');
    await virsh('undefine', `${kept}-001`);
    expect(await run(golden, 'cat /run/in-memory')).toEqual(['of-the-golden']);
  });
});
