import { open, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { commandsIn, run } from '../../support/hints/follow.js';
import { Lab, uri, virsh } from '../../support/lab.js';

/** Refusals of the snapshot verbs, each with its hint, which is followed here exactly. */
describe('hints about snapshots of other domains', () => {
  let domain: ForeignDomain;
  const lab = Lab.use(async () => {
    domain = await ForeignDomain.define(lab, 'hints', ['qcow2']);
  });

  const refused = async (...words: string[]) => {
    const { exitCode, json } = await lab.answer('snapshot', ...words);
    expect(exitCode, JSON.stringify(json)).not.toBe(0);
    return json.error as { code: string; hint: string; details: string[] };
  };
  const names = async (): Promise<string[]> =>
    (await lab.ok('snapshot', 'list', domain.name)).domains[0]?.levels.map(({ name }: { name: string }) => name) ?? [];
  /** Commands that discard data also ask; without a terminal, the next hint says how to answer. */
  const confirmed = async (command: string): Promise<void> => {
    await expect(run(lab, command)).rejects.toThrow(/Add --yes/);
    await run(lab, `${command} --yes`);
  };

  it('take the first one, commit from the top, roll back before an older one is dropped', async () => {
    const none = await refused('drop', domain.name, '--yes');
    expect(commandsIn(none.hint)).toEqual([`cowherd snapshot take ${domain.name}`]);
    await run(lab, commandsIn(none.hint)[0] ?? '');
    const [first = ''] = await names();
    await lab.ok('snapshot', 'take', domain.name, '--name', 'b');
    await lab.ok('snapshot', 'take', domain.name, '--name', 'c');
    const { hint: fromTheTop } = await refused('commit', domain.name, 'b', '--yes');
    const [, commit = ''] = /^Commit from the top: (cowherd snapshot commit \S+) merges c into b\.$/.exec(fromTheTop) ?? [];
    await confirmed(commit);
    expect(await names()).toEqual([first, 'b']);
    const { hint: backFirst } = await refused('drop', domain.name, first, '--yes');
    const [rollback = ''] = commandsIn(backFirst.replace(', which discards the newer ones', ''));
    expect(rollback).toBe(`cowherd snapshot rollback ${domain.name} ${first}`);
    await confirmed(rollback);
    await confirmed(`cowherd snapshot drop ${domain.name} ${first}`);
    expect((await lab.ok('snapshot', 'list')).domains).toEqual([]);
  });

  it('repair a disk that was not closed cleanly before a snapshot is taken', async () => {
    const { path } = await domain.disk('vda');
    await writeAt(path, 72, '0000000000000001');
    const { details } = await refused('take', domain.name);
    const [command = ''] = commandsIn(details[0] ?? '');
    expect(command).toBe(`qemu-img check -r all ${path}`);
    await run(lab, command);
    await lab.ok('snapshot', 'take', domain.name, '--name', 'a');
  });

  it('restore the disks or the definition of a domain', async () => {
    const xml = await domain.xml();
    const file = join(lab.scratch, 'before.xml');
    await writeFile(file, xml);
    const elsewhere = await lab.golden('elsewhere.qcow2');
    await domain.redefine(xml.replace((await domain.disk('vda')).path, elsewhere));
    const { code, hint } = await refused('rollback', domain.name, '--yes');
    const [, edit = ''] = /^Restore the overlay with "(virsh edit \S+)" \(driver type qcow2\)/.exec(hint) ?? [];
    expect(code).toBe('DOMAIN_CHANGED');
    await execa('bash', ['-c', edit], { env: { EDITOR: `cp ${file}`, LIBVIRT_DEFAULT_URI: uri } });
    await lab.ok('snapshot', 'rollback', domain.name, '--yes');

    await writeFile(file, await domain.xml());
    await virsh('undefine', domain.name);
    const gone = await refused('rollback', domain.name, '--yes');
    expect(gone).toMatchObject({ code: 'DOMAIN_NOT_FOUND', hint: expect.stringContaining('Define the domain again with its old XML') });
    const [found] = (await lab.answer('verify')).json.findings;
    expect([found.kind, found.hint]).toEqual(['orphan', expect.stringContaining('Define the domain again, or remove them.')]);
    await virsh('define', file);
    expect((await lab.ok('verify')).findings).toEqual([]);
    await lab.ok('snapshot', 'rollback', domain.name, '--yes');
  });

  it('finish an interrupted verb', async () => {
    expect((await lab.faulty({ KILL_ON: '^virsh define', KILL_AT: '1' }, 'snapshot', 'take', domain.name, '--name', 'late')).signal).toBe(
      'SIGKILL',
    );
    const { hint } = await refused('rollback', domain.name, '--yes');
    const [command = ''] = commandsIn(hint);
    expect(command).toBe(`cowherd snapshot take ${domain.name}`);
    await run(lab, command);
    expect(await names()).toEqual(['a', 'late']);
  });

  it('discard the changes since a backing file was changed', async () => {
    const [{ backing }] = (await lab.ok('snapshot', 'list', domain.name)).domains[0].levels[0].disks;
    await utimes(backing, new Date(), new Date());
    const { code, hint } = await refused('commit', domain.name, '--yes');
    const [command = ''] = commandsIn(hint.replace(/^.*or discard the changes since then/, ''));
    expect([code, command]).toEqual(['IMAGE_CHANGED', `cowherd snapshot drop ${domain.name} --accept-changed`]);
    // The newest snapshot, then the one on the changed file.
    await confirmed(command);
    await confirmed(command);
    expect((await lab.ok('snapshot', 'list')).domains).toEqual([]);
  });
});

async function writeAt(path: string, place: number, hex: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.from(hex, 'hex'), 0, hex.length / 2, place);
  } finally {
    await file.close();
  }
}
