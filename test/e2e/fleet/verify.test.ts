import { randomUUID } from 'node:crypto';
import { appendFile, chmod, copyFile, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { temporaryOf } from '../../../src/adapters/store/files/atomic-write.js';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { run } from '../../support/hints/follow.js';
import { guest, Lab, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

interface Finding {
  kind: string;
  what: string;
  hint: string;
  fixable: boolean;
  fixed: boolean;
}

/** Compares the store, libvirt and the records: each fault is found, reported once, and fixed if that loses no data. */
describe('verify', () => {
  let lab: Lab;
  let golden: string;
  let fleet: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    fleet = lab.fleet('verify');
  });
  afterAll(() => lab.close());
  beforeEach(async () => {
    await lab.ok('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--seed', 'nocloud');
    expect(await findings()).toEqual([]);
  });

  async function findings(...args: string[]): Promise<Finding[]> {
    const { exitCode, json } = await lab.answer('verify', ...args);
    const open = json.findings.filter((finding: Finding) => !finding.fixed);
    expect(exitCode).toBe(open.length === 0 ? 0 : 4);
    return json.findings;
  }

  const short = (list: Finding[]): string[] =>
    list.map(({ kind, what }) => `${kind} ${what.replace(`${lab.store}/`, '').replaceAll(fleet, 'F')}`);
  const inFleet = (...parts: string[]): string => lab.path('fleets', fleet, ...parts);

  it('finds leftovers of killed runs, and removes only these', async () => {
    const base = (await lab.ok('base', 'list')).bases[0].path;
    const leftovers = [
      inFleet('overlays', `${fleet}-001.qcow2.new`),
      inFleet('overlays', '.fresh-0123456789ab.qcow2'),
      inFleet('overlays', '.compact-0123456789ab.qcow2'),
      inFleet('seeds', `${fleet}-002.iso.new`),
      temporaryOf(inFleet('fleet.json')),
      // Left by a run that was killed between removing its intent and its log.
      inFleet('operation.log'),
      temporaryOf(join(base, '..', '0123456789ab.json')),
      join(base, '..', '.import-99.partial'),
      join(base, '..', '.import-99.unpacked.partial'),
      // An import that was killed before its record was written.
      join(base, '..', '0123456789ab.qcow2'),
    ];
    await writeFile(join(base, '..', '.unrecorded-0123456789ab.qcow2'), '');
    for (const path of leftovers) await writeFile(path, 'x');
    await mkdir(lab.path('fleets', lab.fleet('never'), 'overlays'), { recursive: true });
    await mkdir(lab.path('snapshots', '00000000-0000-4000-8000-000000000000'), { recursive: true });
    await chmod(base, 0o644);
    await writeFile(inFleet('NOTES.txt'), 'mine');
    // Typical names of users' own copies.
    const copies = [
      inFleet('overlays', `${fleet}-001.qcow2.20261120`),
      inFleet('fleet.json.20261120'),
      `${base}.2026`,
      inFleet('nvram', `${fleet}-001.fd.001`),
    ];
    await mkdir(inFleet('nvram'), { recursive: true });
    for (const path of copies) await writeFile(path, 'mine');
    const before = await lab.world(fleet);
    const found = await findings();
    expect(found.map(({ what }) => what).filter((what) => copies.includes(what))).toEqual([]);
    expect(short(found.filter(({ what }) => !leftovers.includes(what)))).toHaveLength(3);
    for (const path of leftovers) expect(found.map(({ what }) => what)).toContain(path);
    expect(found.filter((finding) => !finding.fixable || finding.fixed)).toEqual([]);
    expect(await lab.world(fleet)).toEqual(before);

    const fixed = await findings('--fix');
    expect(fixed).toHaveLength(found.length);
    expect(fixed.every((finding) => finding.fixed)).toBe(true);
    for (const path of leftovers) await expect(stat(path)).rejects.toThrow();
    expect((await stat(base)).mode & 0o777).toBe(0o440);
    expect(await readFile(inFleet('NOTES.txt'), 'utf8')).toBe('mine');
    // Neither verify nor the end of a verb removes users' copies.
    await lab.ok('reset', fleet, '1');
    const { unknown } = await lab.ok('verify');
    expect(unknown).toEqual([inFleet('NOTES.txt'), ...copies].sort());
    for (const path of unknown) await rm(path);
  });

  it('finds what is missing, and each hint fixes it', async () => {
    const member = `${fleet}-002`;
    await virsh('destroy', member);
    await virsh('undefine', member);
    await rm(inFleet('seeds', `${fleet}-001.iso`));
    expect(short(await findings(fleet))).toEqual([`missing F`, 'missing F-002']);
    await lab.ok('spawn', fleet);
    expect(await findings(fleet)).toEqual([]);

    await virsh('destroy', `${fleet}-003`);
    await rm(lab.overlay(fleet, `${fleet}-003`));
    const [lost] = await findings();
    expect(lost).toMatchObject({ kind: 'missing', what: `${fleet}-003`, fixable: false, hint: expect.stringContaining('reset') });
    await lab.ok('reset', fleet, '3');
    expect(await findings()).toEqual([]);

    const record = await readFile(inFleet('fleet.json'), 'utf8');
    await rm(inFleet('fleet.json'));
    expect((await findings())[0]).toMatchObject({ kind: 'missing', what: fleet, hint: expect.stringContaining('--recover') });
    await lab.ok('status', fleet, '--recover');
    expect(await findings()).toEqual([]);
    await writeFile(inFleet('fleet.json'), record.slice(0, 100));
    expect((await findings())[0]).toMatchObject({ kind: 'damaged', hint: expect.stringContaining('--recover') });
    await lab.ok('status', fleet, '--recover');
    expect(await findings()).toEqual([]);
  });

  it('finds orphaned disks and domains, and never removes them', async () => {
    const stray = inFleet('overlays', `${fleet}-009.qcow2`);
    await copyFile(lab.overlay(fleet, `${fleet}-001`), stray);
    // A domain that was copied with its mark, and one that uses a member's disk.
    const copy = (await virsh('dumpxml', '--inactive', `${fleet}-001`))
      .replaceAll(`${fleet}-001`, `${fleet}-copy`)
      .replace(/<uuid>.*<\/uuid>/, '')
      .replace(/<mac .*\/>/, '');
    const path = join(lab.scratch, 'copy.xml');
    await writeFile(path, copy);
    await virsh('define', path);
    const thief = `${lab.fleet('thief')}-1`;
    const disk = `<disk type='file'><source file='${lab.overlay(fleet, `${fleet}-001`)}'/><target dev='vda'/></disk>`;
    await lab.defineForeign(thief, `<devices>${disk}</devices>`);
    const found = await findings('--fix');
    expect(short(found)).toContain('orphan fleets/F/overlays/F-009.qcow2');
    expect(found.find(({ what }) => what === `${fleet}-copy`)).toMatchObject({ kind: 'orphan', fixed: false });
    expect(found.find(({ what }) => what === thief)).toMatchObject({ kind: 'mismatch', fixed: false });
    await stat(stray);
    for (const name of [thief, `${fleet}-copy`]) expect(await virsh('domstate', name)).toContain('shut off');
    // As the hints say.
    const hint = (what: string): string => found.find((one) => one.what === what)?.hint ?? '';
    const [command = ''] = /virsh undefine/.exec(hint(`${fleet}-copy`)) ?? [];
    await run(lab, `${command} ${fleet}-copy`);
    expect(hint(thief)).toContain('detach it from that domain');
    await virsh('detach-disk', thief, 'vda', '--config');
    expect(hint(stray)).toBe('Check whether you need it, then remove the file.');
    await rm(stray);
    expect(await findings()).toEqual([]);
    await virsh('undefine', thief);
  });

  it('finds the files of a fleet and of snapshots without a record, which can be removed', async () => {
    const lost = lab.fleet('lost');
    await mkdir(lab.path('fleets', lost, 'overlays'), { recursive: true });
    await copyFile(lab.overlay(fleet, `${fleet}-001`), lab.overlay(lost, `${lost}-001`));
    const snapshots = lab.path('snapshots', randomUUID());
    await mkdir(join(snapshots, '1-a'), { recursive: true });
    await copyFile(lab.overlay(fleet, `${fleet}-001`), join(snapshots, '1-a', 'vda.qcow2'));
    const found = await findings('--fix');
    expect(found.map(({ kind, what, hint }) => [kind, what, hint])).toEqual([
      ['orphan', snapshots, 'If no domain uses one of them as a disk, remove the directory.'],
      ['orphan', lab.path('fleets', lost), 'They are unused. Check whether you need them, then remove the directory.'],
    ]);
    for (const { what } of found) await rm(what, { recursive: true });
    expect(await findings()).toEqual([]);
  });

  it('finds a changed base image, an interrupted verb, and a damaged disk', async () => {
    const base = (await lab.ok('base', 'list')).bases[0];
    const { mtime, atime } = await stat(base.path);
    await utimes(base.path, atime, new Date());
    expect((await findings())[0]).toMatchObject({ kind: 'damaged', what: base.ref });
    await utimes(base.path, atime, mtime);
    // utimes cannot restore nanoseconds, but importing the same content updates the record.
    await lab.ok('base', 'add', golden);
    expect(await findings()).toEqual([]);

    expect((await lab.faulty({ KILL_ON: '^virsh start', KILL_AT: '1' }, 'reset', fleet)).signal).toBe('SIGKILL');
    expect(await findings('--fix')).toMatchObject([
      { kind: 'unfinished', what: fleet, fixed: false, hint: expect.stringContaining(`cowherd resume ${fleet}`) },
    ]);
    await lab.ok('resume', fleet);
    expect(await findings()).toEqual([]);

    await lab.ok('stop', fleet, '1', '--timeout', '1s', '--force');
    const overlay = lab.overlay(fleet, `${fleet}-001`);
    await rename(overlay, `${overlay}.kept`);
    await copyFile(`${overlay}.kept`, overlay);
    // An invalid cluster table: only a full read shows it.
    await execa('dd', [`of=${overlay}`, 'bs=1', 'seek=262144', 'conv=notrunc'], { input: Buffer.alloc(8, 0x7f) });
    await rm(`${overlay}.kept`);
    expect(await findings()).toEqual([]);
    expect((await findings('--deep'))[0]).toMatchObject({ kind: 'damaged', what: `${fleet}-001`, hint: expect.stringContaining('reset') });
    await lab.ok('reset', fleet, '1');
    expect(await findings('--deep')).toEqual([]);
  });

  longIt('neither reports nor fixes what a running snapshot verb works on', async () => {
    const domain = await ForeignDomain.define(lab, 'busy', ['raw']);
    const uuid = (await virsh('domuuid', domain.name)).trim();
    const inDirectory = (name: string): string => lab.path('snapshots', uuid, name);
    await lab.ok('snapshot', 'take', domain.name, '--name', 'a');
    // Left by a killed run: it must not be removed while another run holds the lock.
    await writeFile(inDirectory('.cowherd-0123456789ab-snapshots.json'), 'x');
    expect((await lab.faulty({ KILL_ON: '^virsh define', KILL_AT: '1' }, 'snapshot', 'drop', domain.name, '--yes')).signal).toBe('SIGKILL');
    const journal = await readFile(inDirectory('journal.json'), 'utf8');
    const holder = execa('flock', ['--no-fork', lab.path('snapshots', `.${uuid}.lock`), 'sleep', '60']);
    try {
      await until('the lock to be held', async () => (await lab.answer('snapshot', 'take', domain.name)).exitCode === 6);
      for (const args of [[], ['--fix']]) {
        const { exitCode, json } = await lab.answer('verify', ...args);
        expect([exitCode, json.findings, json.busy]).toEqual([6, [], [`snapshots of ${domain.name}`]]);
      }
      const told = await lab.cowherd('verify');
      expect(told.stdout).toContain(`? snapshots of ${domain.name}: not checked`);
      expect(told.stdout).not.toContain('no problems:');
      // What is amiss elsewhere counts for more.
      await rm(lab.overlay(fleet, `${fleet}-001`));
      expect((await lab.answer('verify')).exitCode).toBe(4);
      await stat(inDirectory('.cowherd-0123456789ab-snapshots.json'));
    } finally {
      holder.kill();
      await holder.catch(() => undefined);
      await lab.unlocked();
    }
    expect(await readFile(inDirectory('journal.json'), 'utf8')).toBe(journal);
    await lab.ok('reset', fleet, '1');
    expect(await findings()).toMatchObject([{ kind: 'unfinished', what: domain.name }]);
    await lab.ok('snapshot', 'drop', domain.name, '--yes');
    expect(await findings()).toEqual([]);
    await lab.ok('snapshot', 'take', domain.name, '--name', 'a');
    await writeFile(inDirectory('.cowherd-0123456789ab-snapshots.json'), 'x');
    expect(await findings('--fix')).toMatchObject([{ kind: 'leftover', fixed: true }]);
    await expect(stat(inDirectory('.cowherd-0123456789ab-snapshots.json'))).rejects.toThrow();
    await lab.ok('snapshot', 'drop', domain.name, '--yes');
  });

  it('does not report a running verb', async () => {
    const run = lab.begin('reset', fleet, '--concurrency', '1', '--boot-concurrency', '1');
    let looks = 0;
    let isOver = false;
    void run.then(() => {
      isOver = true;
    });
    while (!isOver) {
      const { exitCode, json } = await lab.answer('verify');
      expect([json.findings, json.busy.filter((what: string) => what !== `fleet ${fleet}`)]).toEqual([[], []]);
      expect(exitCode).toBe(json.busy.length === 0 ? 0 : 6);
      looks++;
    }
    expect(looks).toBeGreaterThan(0);
    expect((await run).exitCode).toBe(0);
    expect((await lab.answer('verify', lab.fleet('nobody'))).exitCode).toBe(5);
    await appendFile(inFleet('seeds', 'placed.log'), '');
    expect(await findings()).toEqual([]);
  });
});
