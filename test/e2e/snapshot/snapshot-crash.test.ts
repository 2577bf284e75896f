import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { dropSnapshot } from '../../../src/services/snapshot/revert.js';
import { takeSnapshot } from '../../../src/services/snapshot/take.js';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { until, virsh } from '../../support/lab.js';
import { inLong } from '../../support/long.js';
import { SnapshotLab, verbs } from '../../support/snapshot-lab.js';

/** kill -9 of each verb: the domain boots, and the same verb completes it. */
describe('an interrupted snapshot verb', () => {
  const snapshots = SnapshotLab.use();
  const { lab, list, refused } = snapshots;

  it('killed just before the start, the same verb only starts the domain', async () => {
    const domain = await ForeignDomain.define(lab, 'start', ['qcow2']);
    for (const name of ['a', 'b']) await verbs.take(snapshots.host, { domain: domain.name, name });
    const path = lab.path('snapshots', (await virsh('domuuid', domain.name)).trim(), 'journal.json');
    let journal = '';
    const run = lab.begin('snapshot', 'drop', domain.name, '--yes');
    await until(
      'the journal',
      async () => {
        journal = await readFile(path, 'utf8').catch(() => '');
        return journal !== '';
      },
      20,
    );
    await run;
    await writeFile(path, JSON.stringify({ ...JSON.parse(journal), wasRunning: true, isCleared: true }));
    expect(await lab.ok('snapshot', 'drop', domain.name, '--yes')).toMatchObject({ isResumed: true, startedAgain: true, snapshots: ['a'] });
    expect((await list(domain))?.levels.map(({ name }) => name)).toEqual(['a']);
    expect((await list(domain))?.unfinished).toBeUndefined();
    await virsh('destroy', domain.name);
  });

  /** kill -9 at increasing times; afterwards the domain must boot with old or new disks, and the verb must be completed. */
  describe.each(['take' as const, ...inLong(['rollback', 'drop', 'commit'] as const)])('after kill -9 in a %s', (verb) => {
    it('boots with the old or the new disks, and the same verb completes it', async () => {
      const domain = await ForeignDomain.define(lab, `crash-${verb}`, ['raw', 'qcow2']);
      const uuid = (await virsh('domuuid', domain.name)).trim();
      const journal = lab.path('snapshots', uuid, 'journal.json');
      const isThere = (path: string) =>
        stat(path).then(
          () => true,
          () => false,
        );
      const asDefined = await domain.xml();
      const isKept = verb === 'take' || verb === 'rollback';
      let boots = 0;
      for (const [round, delay] of [0, 100].entries()) {
        if (verb !== 'take') {
          await takeSnapshot(snapshots.host, { domain: domain.name, name: 'x' });
          await domain.scribble('vda', round + 1, '8M');
          await domain.scribble('vdb', round + 1, '8M');
        }
        const before = await domain.xml();
        const run = lab.begin('snapshot', verb, domain.name, '--yes', ...(verb === 'take' ? ['--name', 'x'] : []));
        await until('the journal', () => isThere(journal), 20);
        await new Promise((resolve) => setTimeout(resolve, delay));
        run.kill('SIGKILL');
        await run;

        const unfinished = (await list(domain))?.unfinished;
        await lab.unlocked();
        const isOld = (await domain.xml()) === before;
        if (unfinished !== undefined) expect(unfinished).toMatchObject({ verb, finishWith: `cowherd snapshot ${verb} ${domain.name}` });
        // Both disks are old or both are new, and the guest boots from them.
        const isWritten = verb === 'commit' || isOld;
        if (verb !== 'take')
          expect([await domain.holds('vda', round + 1), await domain.holds('vdb', round + 1)]).toEqual([isWritten, isWritten]);
        expect(await domain.boot()).toBe(boots + 1);

        if (await isThere(journal)) {
          expect(await list(domain)).toMatchObject({ unfinished: { boots: isOld ? 'as before it' : 'as after it' }, problems: [] });
          if (verb !== 'drop') expect(await refused('drop', domain.name)).toMatchObject({ exitCode: 3, code: 'UNFINISHED_OPERATION' });
          expect(await lab.ok('snapshot', verb, domain.name, '--yes')).toMatchObject({ isResumed: true });
        }
        expect(await isThere(journal)).toBe(false);
        const listed = await list(domain);
        expect(listed?.problems ?? []).toEqual([]);
        expect(listed?.levels.map(({ name }) => name) ?? []).toEqual(isKept ? ['x'] : []);
        // No unknown files are left.
        const files = (await readdir(lab.path('snapshots', uuid), { recursive: true }).catch(() => [])).filter((file) =>
          file.endsWith('.qcow2'),
        );
        expect(files).toHaveLength(isKept ? 2 : 0);
        if (verb !== 'take')
          expect([await domain.holds('vda', round + 1), await domain.holds('vdb', round + 1)]).toEqual([
            verb === 'commit',
            verb === 'commit',
          ]);
        // Changes made with the new disks count; those made with the old disks are lost, unless they were to be kept.
        expect(await domain.boots()).toBe(verb === 'take' || verb === 'commit' || !isOld ? boots + 1 : boots);
        if (isKept) await dropSnapshot(snapshots.host, { domain: domain.name });
        expect(await domain.xml()).toBe(asDefined);
        boots = await domain.boots();
      }
    });
  });
});
