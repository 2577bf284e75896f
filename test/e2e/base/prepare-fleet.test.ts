import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, it } from 'vitest';
import { commandsIn, run } from '../../support/hints/follow.js';
import { longIt } from '../../support/long.js';
import { PrepareLab } from '../../support/prepare-lab.js';

/** Fleet files with a recipe in place of a base image. */
describe('a fleet file that says how its image is prepared', () => {
  const lab = PrepareLab.here();
  /** Every preparation has another result. */
  const stamp = 'cat /proc/sys/kernel/random/uuid >/etc/stamp';
  const file = async (name: string, fleets: readonly string[], image: object): Promise<string> => {
    const path = join(lab.scratch, `${name}.yaml`);
    const machine = { count: 1, memory: '128MiB', network: 'none' };
    const recipe = { from: inject('tinyImage'), memory: '128MiB', ...image };
    await writeFile(path, JSON.stringify({ fleets: fleets.map((fleet) => ({ name: fleet, ...machine, image: recipe })) }));
    return path;
  };
  const preparedImages = async (): Promise<string[]> =>
    (await lab.ok('base', 'list')).bases.filter(({ promotedFrom }: any) => promotedFrom !== null).map(({ ref }: any) => ref);

  it('prepares it once for all fleets and runs, and refuses another recipe for a fleet that exists', async () => {
    const fleets = [lab.fleet('web'), lab.fleet('db')].sort();
    const image = { run: stamp, as: lab.fleet('image') };
    const path = await file('lab', fleets, image);
    const planned = await lab.ok('spawn', '-f', path, '--dry-run');
    expect(planned.fleets.map(({ notes }: any) => notes.join())).toEqual(
      Array(2).fill(expect.stringContaining(`base image ${image.as} would be prepared`)),
    );
    await lab.expectNothingLeft();

    const spawned = await lab.ok('spawn', '-f', path, '--wait', 'agent');
    expect(spawned.fleets.map(({ counts }: any) => counts.created)).toEqual([1, 1]);
    const [prepared, ...others] = await preparedImages();
    expect([prepared, others]).toEqual([expect.stringContaining(image.as), []]);
    const [one = '', other] = (await Promise.all(fleets.map((fleet) => lab.said(fleet, 'cat /etc/stamp')))).flat();
    expect([one.length, other]).toEqual([36, one]);
    expect((await lab.ok('spawn', '-f', path)).fleets.map(({ counts }: any) => counts.unchanged)).toEqual([1, 1]);
    expect(await preparedImages()).toEqual([prepared]);
    await lab.expectNothingLeft(fleets);

    // The recipe changes.
    const [fleet = ''] = fleets;
    const changed = await file('changed', [fleet], { ...image, run: [stamp, "echo 'version 2' >/etc/app"] });
    for (const more of [['--dry-run'], []]) {
      const { exitCode, json } = await lab.answer('spawn', '-f', changed, ...more);
      expect([exitCode, json.error.message]).toEqual([2, expect.stringContaining('was not prepared as the fleet file says')]);
    }
    expect(await preparedImages()).toEqual([prepared]);
    const { hint } = (await lab.answer('spawn', '-f', changed)).json.error;
    const [prepare = '', rebase = ''] = hint.replace(/^[^:]*: /, '').split('; cowherd rebase');
    await run(lab, prepare);
    // Now it names the image.
    const second = (await lab.answer('spawn', '-f', changed)).json.error.hint;
    expect(second).toMatch(/^To move its members to the image that was: cowherd rebase/);
    expect(rebase).toContain(fleet);
    for (const command of commandsIn(second)) await run(lab, command);
    expect((await lab.ok('spawn', '-f', changed, '--wait', 'agent')).counts).toMatchObject({ failed: 0 });
    expect(await lab.said(fleet, 'cat /etc/app')).toEqual(['version 2']);
    for (const name of fleets) await lab.ok('teardown', name, '--yes');
  });

  longIt('is prepared once by two runs at the same time', async () => {
    const fleets = [lab.fleet('left'), lab.fleet('right')];
    const before = (await preparedImages()).length;
    const paths = await Promise.all(fleets.map((fleet) => file(fleet, [fleet], { run: [stamp, 'sleep 2'], as: lab.fleet('both') })));
    const answers = await Promise.all(paths.map((path) => lab.cowherd('spawn', '-f', path, '--json')));
    expect(answers.map(({ exitCode, stdout }) => (exitCode === 0 ? 0 : stdout))).toEqual([0, 0]);
    expect(await preparedImages()).toHaveLength(before + 1);
    const bases = await Promise.all(fleets.map(async (fleet) => (await lab.ok('status', fleet)).base));
    expect(bases[0]).toEqual(bases[1]);
    await lab.expectNothingLeft([...fleets].sort());
    for (const name of fleets) await lab.ok('teardown', name, '--yes');
  });

  it('creates no fleet if its image cannot be prepared, and says how to try that alone', async () => {
    const fleet = lab.fleet('broken');
    const path = await file('broken', [fleet], { run: 'echo oops; exit 9', as: lab.fleet('broken') });
    const { exitCode, json } = await lab.answer('spawn', '-f', path);
    expect([exitCode, json.error.code, json.error.details]).toEqual([
      8,
      'SCRIPT_FAILED',
      ['oops', `the image of fleet ${fleet} was not prepared`],
    ]);
    await lab.expectNothingLeft();
    const alone = json.error.hint.slice(json.error.hint.indexOf('cowherd base prepare'));
    await expect(run(lab, alone)).rejects.toThrow(/exit code 9[\s\S]*the VM is kept/);
    await lab.ok('teardown', `${fleet}-prepare`, '--yes');
    await lab.expectNothingLeft();
  });
});
