import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { guest } from '../../support/lab.js';
import { inLong } from '../../support/long.js';
import { TamperLab } from '../../support/scenarios/tamper-lab.js';

describe('tampering with records of a fleet', () => {
  const { lab, golden, fleet, sibling, name, overlay, state, world, answer, expectRefusals } = TamperLab.use();

  type Case = [string, (record: any, id: string) => unknown];
  const recordCases: Case[] = [
    ['is that of another fleet', () => readFile(lab.path('fleets', sibling, 'fleet.json'), 'utf8')],
    ['is cut short', (record) => JSON.stringify(record).slice(0, 200)],
    ['has a member that leads elsewhere', (record) => ({ ...record, members: [{ ...record.members[1], name: '../../../s' }] })],
    ...inLong<Case>([
      ['has a member twice', (record) => ({ ...record, members: [...record.members, record.members[0]] })],
      ["has another fleet's member", async (record) => ({ ...record, members: [{ ...record.members[0], name: `${sibling}-001` }] })],
      ['has another id', (record, id) => ({ ...record, id })],
    ]),
  ];

  it.each(recordCases)('of fleet.json: it %s', async (what, edit) => {
    const path = state('fleet.json');
    const text = await readFile(path, 'utf8');
    const edited = await edit(JSON.parse(text), '11111111-1111-4111-8111-111111111111');
    await writeFile(path, typeof edited === 'string' ? edited : JSON.stringify(edited));
    await expectRefusals(
      what,
      Object.fromEntries(
        [
          'status F',
          'report F',
          'start F',
          'stop F',
          'reset F',
          'spawn F',
          'promote F 2 --as new',
          'compact F',
          'rebase F --base other',
          'teardown F --yes',
          'exec F -- true',
        ].map((line) => [line, '7 STATE_DAMAGED']),
      ),
    );
    expect((await lab.ok('list')).fleets).toContainEqual(
      expect.objectContaining({ fleet, problem: expect.stringContaining('fleet.json') }),
    );
    expect((await answer('status', fleet)).hint).toContain(`cowherd status ${fleet} --recover`);
    await lab.ok('status', fleet, '--recover');
    const { createdAt: _, ...recovered } = JSON.parse(await readFile(path, 'utf8'));
    expect(JSON.parse(text)).toMatchObject(recovered);
    await writeFile(path, text);
  });

  it('of fleet.json: members or the base image are edited', async () => {
    const path = state('fleet.json');
    const text = await readFile(path, 'utf8');
    const record = JSON.parse(text);
    // A member missing from the record is ignored; a spawn with the same count finds it again.
    await writeFile(path, JSON.stringify({ ...record, members: record.members.slice(0, 2) }));
    const before = await world();
    await lab.ok('reset', fleet, '2', '--start', 'none');
    expect((await world()).get(relative(lab.store, overlay(3)))).toBe(before.get(relative(lab.store, overlay(3))));
    await lab.ok('spawn', fleet, '--count', '3', '--no-start');
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 1, shutOff: 2 });
    // Another digest: members with another base image do not start.
    const { ref, digest } = await lab.ok('base', 'inspect', 'other');
    await writeFile(path, JSON.stringify({ ...record, base: { name: ref.split('@')[0], digest } }));
    await expectRefusals('other base image', {
      'start F 2': '4 REFUSED',
      'promote F 2 --as new': '7 BASE_REFUSED',
      'compact F 2': '4 BASE_REFUSED',
    });
    await writeFile(path, JSON.stringify({ ...record, base: { ...record.base, digest: 'f'.repeat(64) } }));
    await expectRefusals('no base image', { 'start F 2': '7 BASE_CHANGED', 'reset F': '7 BASE_CHANGED', 'spawn F': '7 BASE_CHANGED' });
    await writeFile(path, text);
  });

  it('of a fleet: its directory is renamed', async () => {
    const away = lab.fleet('away');
    await rename(state(), lab.path('fleets', away));
    const reply = await answer('reset', away);
    expect([reply.got, reply.hint]).toEqual(['7 STATE_DAMAGED', expect.stringContaining(`rename it back: ${fleet}`)]);
    expect((await answer('teardown', away, '--yes')).got).toBe('7 STATE_DAMAGED');
    expect((await answer('reset', fleet)).got).toBe('5 FLEET_NOT_FOUND');
    await rename(lab.path('fleets', away), state());
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 1, shutOff: 2 });
  });

  it('of a journal: it is of another fleet', async () => {
    // The intent of an interrupted verb of another fleet, copied here.
    for (const verb of ['reset', 'teardown']) {
      const killed = await lab.faulty(
        { KILL_ON: verb === 'reset' ? '^rename .*qcow2.new' : '^virsh undefine', KILL_AT: '1' },
        verb,
        sibling,
        ...(verb === 'teardown' ? ['--yes'] : []),
      );
      expect(killed.signal).toBe('SIGKILL');
      const journal = lab.path('fleets', sibling, 'operation.json');
      await copyFile(journal, state('operation.json'));
      await expectRefusals(
        verb,
        Object.fromEntries(['resume F', 'reset F', 'spawn F', 'start F', 'teardown F --yes'].map((line) => [line, '7 STATE_DAMAGED'])),
      );
      const { hint } = await answer('resume', fleet);
      expect(hint).toContain(`${state('operation.json')}; if you do not need it, remove the file`);
      await rm(state('operation.json'));
      await lab.ok('resume', sibling);
    }
    await lab.ok('spawn', sibling, '--base', golden, '--count', '1', ...guest, '--no-start');
  });

  it('of a seed, a console log', async () => {
    const seed = (index: number): string => state('seeds', `${name(index)}.iso`);
    await rm(seed(2));
    const lost = await answer('start', fleet, '2');
    expect([lost.got, lost.hint]).toEqual(['4 TOOL_FAILED', expect.stringContaining('cowherd spawn')]);
    await lab.ok('spawn', fleet, '--no-start');
    await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2');
    const log = state('logs', `${name(2)}.log`);
    await rm(log);
    expect((await lab.answer('logs', name(2))).exitCode).toBe(0);
    await mkdir(log);
    const blocked = await answer('start', fleet, '2');
    expect([blocked.got, blocked.hint]).toEqual(['4 STORE_FAILED', expect.stringContaining('Move it away')]);
    await rm(log, { recursive: true });
    await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2');
  });
});
