import { createHash } from 'node:crypto';
import {
  appendFile,
  chmod,
  chown,
  copyFile,
  cp,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { follow } from '../../support/hints/follow.js';
import { domains, guest, Lab, virsh } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';

/** Changes to the store and domains behind cowherd's back. For each: the answer of every verb, that none of them changes anything else, and that following the hint fixes it.
 */
describe('tampering', () => {
  let lab: Lab;
  let golden: string;
  let other: string;
  /** The first member is running, the others are stopped. */
  let fleet: string;
  let sibling: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2', { filledMiB: 1, ending: 'power-button' });
    other = await lab.golden('other.qcow2', { filledMiB: 1 });
    await lab.ok('base', 'add', other);
    fleet = lab.fleet('t');
    sibling = lab.fleet('s');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--seed', 'nocloud', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2-3');
    await lab.ok('spawn', sibling, '--base', golden, '--count', '1', ...guest, '--no-start');
  });
  afterAll(() => lab.close());

  const name = (index: number): string => `${fleet}-00${index}`;
  const overlay = (index: number): string => lab.overlay(fleet, name(index));
  const state = (...parts: string[]): string => lab.path('fleets', fleet, ...parts);
  const imagePath = async (base: string): Promise<string> => (await lab.ok('base', 'inspect', base)).path;

  /** Content, kind and mode of each file, and each domain with its state and definition, except for disks of running guests. */
  async function world(): Promise<Map<string, string>> {
    const seen = new Map<string, string>();
    for (const file of (await readdir(lab.store, { recursive: true })).sort()) {
      const path = join(lab.store, file);
      const stats = await lstat(path);
      if (stats.isDirectory() || path === overlay(1) || file.startsWith('probes') || file.endsWith('.lock')) continue;
      const content = stats.isFile()
        ? createHash('sha256')
            .update(await readFile(path))
            .digest('hex')
        : 'no file';
      seen.set(file, `${content} ${stats.ino} ${stats.mode}`);
    }
    // One virsh for all of them: one process each would dominate the run time of this file.
    const ours = (await domains()).filter((domain) => domain.includes(`-${lab.id}-`));
    const asked = ours.flatMap((domain) => [`echo == ${domain}`, `domid ${domain}`, `dumpxml --inactive ${domain}`]);
    for (const part of (await virsh(asked.join('; '))).split('== ')) seen.set(part.slice(0, part.indexOf('\n')), part);
    return seen;
  }

  /** exit code, and the code of the error or of the member's */
  type Expected = string;
  const answer = async (...words: string[]): Promise<{ got: Expected; hint: string; json: any }> => {
    const { exitCode, json } = await lab.answer(...words);
    const failed = Array.isArray(json.members) ? json.members.find((row: any) => row.error)?.error : undefined;
    const error = json.error ?? failed;
    return { got: [exitCode, error?.code].filter((part) => part !== undefined).join(' '), hint: error?.hint ?? '', json };
  };

  /** Runs verbs that must not change anything. */
  async function expectRefusals(what: string, expected: Record<string, Expected>): Promise<void> {
    const before = await world();
    const got: Record<string, Expected> = {};
    for (const line of Object.keys(expected)) {
      const reply = await answer(...line.split(' ').map((word) => (word === 'F' ? fleet : word)));
      got[line] = reply.got;
      if (reply.got !== '0') expect([what, line, reply.hint]).toEqual([what, line, expect.stringMatching(/\w/)]);
    }
    expect({ what, ...got }).toEqual({ what, ...expected });
    expect([what, await world()]).toEqual([what, before]);
  }

  const changed: Record<string, Expected> = {
    'start F 2': '7 BASE_CHANGED',
    'reset F': '7 BASE_CHANGED',
    'spawn F': '7 BASE_CHANGED',
    'spawn F --count 4': '7 BASE_CHANGED',
    'promote F 2 --as new': '7 BASE_CHANGED',
    'compact F 2': '4 BASE_CHANGED',
    'rebase F --base golden --dry-run': '7 BASE_CHANGED',
    'base verify golden': '7 BASE_CHANGED',
    'base list': '0',
    'report F': '0',
    'teardown F --dry-run': '0',
  };
  const damaged = { ...changed, 'report F': '7 STATE_DAMAGED' };
  for (const [line, code] of Object.entries(damaged)) damaged[line as keyof typeof damaged] = code.replace('BASE_CHANGED', 'STATE_DAMAGED');
  const gone = {
    ...changed,
    'report F': '7 BASE_CHANGED',
    'base verify golden': '5 BASE_NOT_FOUND',
    'rebase F --base golden --dry-run': '5 BASE_NOT_FOUND',
  };

  async function overwrite(path: string, at: number, byte: string): Promise<void> {
    const handle = await open(path, 'r+');
    await handle.write(Buffer.from(byte), 0, 1, at);
    await handle.close();
  }

  const baseCases: Array<[string, (image: string, record: string) => Promise<unknown>, Record<string, Expected>]> = [
    ['one byte is changed in place', (image) => overwrite(image, 300_000, 'Z'), changed],
    ['it is truncated', (image) => truncate(image, 1000), changed],
    ['it is extended', (image) => appendFile(image, 'x'), changed],
    ['another image is renamed over it', async (image) => rename(await copyOf(other, image), image), changed],
    ['a copy of it is renamed over it', async (image) => rename(await copyOf(image, image), image), changed],
    ['it is deleted', (image) => rm(image), changed],
    ['it is a directory', async (image) => rm(image).then(() => mkdir(image)), changed],
    ['it is a link', async (image) => rename(image, `${image}.x`).then(() => symlink(`${image}.x`, image)), changed],
    ['its record is deleted', (_, record) => rm(record), gone],
    ['its record is cut short', (_, record) => truncate(record, 100), damaged],
    [
      'its record is of another image',
      async (_, record) => copyFile((await imagePath('other')).replace('.qcow2', '.json'), record),
      damaged,
    ],
    ['its directory is renamed', (image) => rename(dirname(image), `${dirname(image)}-x`), gone],
  ];
  /** Also to another file system. */
  const move = (from: string, to: string) => execa('mv', [from, to]);
  const copyOf = async (from: string, beside: string): Promise<string> => {
    await execa('cp', ['-p', from, `${beside}.copy`]);
    return `${beside}.copy`;
  };

  it.each(baseCases)('of a base image: %s', async (what, tamper, expected) => {
    const image = await imagePath('golden');
    await tamper(image, image.replace('.qcow2', '.json'));
    await expectRefusals(what, expected);
    const { base, counts } = await lab.ok('status', fleet);
    expect([base.problem, counts.broken]).toEqual([expect.stringMatching(/\w/), 3]);
    // Following the hint fixes it, and the running member was not affected.
    const [, options = ''] = /cowherd base add FILE (--name \w+)/.exec((await answer('start', fleet, '2')).hint) ?? [];
    expect(options).toBe('--name golden');
    if ((await stat(image).catch(() => undefined))?.isDirectory() === true) {
      expect((await answer('base', 'add', golden, ...options.split(' '))).hint).toContain('Move it away');
      await rm(image, { recursive: true });
    }
    await lab.ok('base', 'add', golden, ...options.split(' '));
    await lab.ok('base', 'verify', 'golden');
    await rm(`${dirname(image)}-x`, { recursive: true, force: true });
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 1, shutOff: 2 });
  });

  it('of a base image: changes that its seal does not show are found by reading its content', async () => {
    const image = await imagePath('golden');
    const { mtimeNs } = await stat(image, { bigint: true });
    await overwrite(image, 300_000, 'Z');
    await execa('touch', ['-d', `@${mtimeNs / 10n ** 9n}.${String(mtimeNs % 10n ** 9n).padStart(9, '0')}`, image]);
    expect((await lab.ok('status', fleet)).base.problem).toBeNull();
    expect((await answer('base', 'verify', 'golden')).got).toBe('7 BASE_CHANGED');
    // An import of the same file would find an existing image: its content must be restored by hand.
    await rm(image);
    await lab.ok('base', 'add', golden, '--name', 'golden');
    // Its owner does not matter; a warning says that it is writable.
    await chmod(image, 0o666);
    await chown(image, 1, 1);
    expect((await lab.ok('base', 'verify', 'golden')).warning).toContain(`chmod a-w ${image}`);
    await chmod(image, 0o444);
    expect(await lab.ok('base', 'verify', 'golden')).not.toHaveProperty('warning');
  });

  it('of the backing image of a layered base image', async () => {
    const child = lab.fleet('l');
    await lab.ok('start', fleet, '3', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '3');
    await lab.ok('promote', fleet, '3', '--as', 'layer', '--layered');
    await lab.ok('spawn', child, '--base', 'layer', '--count', '1', ...guest, '--no-start');
    const image = await imagePath('golden');
    const cases: Array<[() => Promise<unknown>, Expected]> = [
      [() => overwrite(image, 300_000, 'Z'), '7 BASE_CHANGED'],
      [() => rm(image), '7 BASE_CHANGED'],
      [() => rm(image.replace('.qcow2', '.json')), '7 BASE_CHANGED'],
    ];
    for (const [tamper, expected] of cases) {
      await tamper();
      const before = await world();
      for (const words of [
        ['start', child],
        ['reset', child],
        ['spawn', child],
        ['promote', child, '1', '--as', 'new'],
        ['base', 'verify', 'layer'],
        ['base', 'export', 'layer', join(lab.scratch, 'x.qcow2')],
      ]) {
        const reply = await answer(...words);
        expect([words, reply.got, reply.hint]).toEqual([words, expected, expect.stringContaining('cowherd base add FILE --name golden')]);
      }
      expect(await world()).toEqual(before);
      await lab.ok('base', 'add', golden, '--name', 'golden');
      await lab.ok('base', 'verify', 'layer');
    }
    await lab.ok('start', child, '--wait', 'console=^OK');
    await lab.ok('teardown', child, '--yes', '--with-base');
  });

  const refused: Record<string, Expected> = {
    'start F 2': '4 REFUSED',
    'promote F 2 --as new': '7 BASE_REFUSED',
    'compact F 2': '4 BASE_REFUSED',
  };
  const missing = { 'start F 2': '4 REFUSED', 'promote F 2 --as new': '5 MEMBER_NOT_FOUND', 'compact F 2': '4 MEMBER_NOT_FOUND' };
  const overlayCases: Array<[string, (path: string) => Promise<unknown>, Record<string, Expected>]> = [
    ['is deleted', (path) => rm(path), missing],
    ['is emptied', (path) => truncate(path, 0), refused],
    ['is cut short', (path) => truncate(path, 70_000), refused],
    ['stands on another base image', (path) => overlayOn(other, path), refused],
    ['is one of another fleet, on another image', async (path) => overlayOn(await imagePath('other'), path), refused],
    ['names another file by qemu-img rebase -u', (path) => execa('qemu-img', ['rebase', '-u', '-F', 'qcow2', '-b', golden, path]), refused],
    ['is a raw file', (path) => rm(path).then(() => execa('qemu-img', ['convert', '-O', 'raw', golden, path])), refused],
    ['is an image that stands alone', (path) => copyFile(golden, path), refused],
    [
      'is a directory with something in it',
      (path) => rm(path).then(() => cp(lab.path('bases', 'other'), path, { recursive: true })),
      missing,
    ],
    [
      'is a link to elsewhere',
      (path) => move(path, join(lab.scratch, 'away')).then(() => symlink(join(lab.scratch, 'away'), path)),
      missing,
    ],
  ];
  const overlayOn = async (image: string, path: string): Promise<void> => {
    await rm(path);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image, path]);
  };

  it.each(overlayCases)('of an overlay: it %s', async (what, tamper, expected) => {
    const path = overlay(2);
    await tamper(path);
    await expectRefusals(what, { 'report F': '0', 'rebase F 2 --base other --dry-run': '2 BAD_USAGE', ...expected });
    const { hint } = await answer('start', fleet, '2');
    expect(hint).toContain(`cowherd reset ${fleet} 2`);
    if ((await lstat(path).catch(() => undefined))?.isDirectory() === true) {
      const reply = await answer('reset', fleet, '2');
      expect([reply.got, reply.hint]).toEqual(['4 STORE_FAILED', expect.stringContaining('Move it away')]);
      expect(await readdir(path)).not.toEqual([]);
      await move(path, join(lab.scratch, 'aside'));
    }
    const before = await world();
    await lab.ok('reset', fleet, '2', '--start', 'none');
    const { stdout } = await execa('qemu-img', ['info', '-f', 'qcow2', path]);
    expect(stdout).toContain(`backing file: ${await imagePath('golden')}`);
    if (what.includes('cut')) {
      await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
      await lab.ok('stop', fleet, '2');
      expect((await lab.marker(fleet, name(2)))?.boots).toBe(1);
    }
    // No other member was changed.
    const mine = (key: string): boolean => key.includes(`${name(2)}`) || key.endsWith('placed.log') || key.endsWith('known_hosts');
    const others = (all: Map<string, string>): object => Object.fromEntries([...all].filter(([key]) => !mine(key)));
    expect(others(await world())).toEqual(others(before));
  });

  it('of an overlay: it gets a snapshot, which a copy would lose', async () => {
    await execa('qemu-img', ['snapshot', '-c', 'mine', overlay(2)]);
    await expectRefusals('snapshot', { 'promote F 2 --as new': '7 BASE_REFUSED', 'compact F 2': '4 BASE_REFUSED' });
    await follow(lab, (await answer('promote', fleet, '2', '--as', 'new')).hint);
    await lab.ok('compact', fleet, '2');
  });

  const recordCases: Array<[string, (record: any, id: string) => unknown]> = [
    ['is that of another fleet', () => readFile(lab.path('fleets', sibling, 'fleet.json'), 'utf8')],
    ['is cut short', (record) => JSON.stringify(record).slice(0, 200)],
    ['has a member twice', (record) => ({ ...record, members: [...record.members, record.members[0]] })],
    ['has a member that leads elsewhere', (record) => ({ ...record, members: [{ ...record.members[1], name: '../../../s' }] })],
    ["has another fleet's member", async (record) => ({ ...record, members: [{ ...record.members[0], name: `${sibling}-001` }] })],
    ['has another id', (record, id) => ({ ...record, id })],
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
    expect((await lab.cowherd('logs', name(2))).exitCode).toBe(0);
    await mkdir(log);
    const blocked = await answer('start', fleet, '2');
    expect([blocked.got, blocked.hint]).toEqual(['4 STORE_FAILED', expect.stringContaining('Move it away')]);
    await rm(log, { recursive: true });
    await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2');
  });

  it('of a domain', async () => {
    const xml = await virsh('dumpxml', '--inactive', name(2));
    const define = async (text: string): Promise<void> => {
      const path = join(lab.scratch, 'edited.xml');
      await writeFile(path, text);
      await virsh('define', path);
    };
    const verbs = (start: Expected, promote: Expected, reset: Expected) => ({
      'start F 2': start,
      'reset F 2': reset,
      'promote F 2 --as new': promote,
      'compact F 2': promote.replace(/^\d/, '4'),
    });
    // Another disk: of another member, and of none.
    for (const disk of [overlay(3), golden]) {
      await define(xml.replace(overlay(2), disk));
      await expectRefusals(`disk ${basename(disk)}`, verbs('4 REFUSED', '7 BASE_REFUSED', '4 REFUSED'));
      const { hint } = await answer('start', fleet, '2');
      const commands = await follow(lab, hint, (command) => !command.includes('relocate'));
      expect(commands.at(-1)).toBe(`cowherd spawn ${fleet}`);
      await lab.ok('stop', fleet, '2-3');
      expect(await virsh('dumpxml', '--inactive', name(2))).toContain(overlay(2));
    }
    // The mark was removed; it was renamed; it has another UUID.
    await virsh('metadata', name(2), 'urn:cowherd:domain:1', '--remove');
    await expectRefusals('mark', {
      ...verbs('4 REFUSED', '7 FOREIGN_DOMAIN', '4 REFUSED'),
      'stop F 2': '4 REFUSED',
      'spawn F': '7 FOREIGN_DOMAIN',
    });
    expect((await answer('start', fleet, '2')).hint).toContain(`virsh undefine ${name(2)}`);
    await virsh('undefine', name(2));
    await expectRefusals('undefined', verbs('4 REFUSED', '5 MEMBER_NOT_FOUND', '4 REFUSED'));
    await lab.ok('spawn', fleet, '--no-start');
    await virsh('domrename', name(2), `${fleet}-x`);
    await expectRefusals('renamed', {
      ...verbs('4 REFUSED', '7 FOREIGN_DOMAIN', '4 REFUSED'),
      'spawn F': '7 FOREIGN_DOMAIN',
      'teardown F 2 --dry-run': '4 REFUSED',
    });
    await virsh('domrename', `${fleet}-x`, name(2));
    await virsh('undefine', name(2));
    await define(xml.replace(/<uuid>.*<\/uuid>/, '<uuid>11111111-1111-4111-8111-111111111111</uuid>'));
    await expectRefusals('uuid', { ...verbs('4 REFUSED', '7 FOREIGN_DOMAIN', '4 REFUSED'), 'spawn F': '7 FOREIGN_DOMAIN' });
    await virsh('undefine', name(2));
    await lab.ok('spawn', fleet, '--no-start');
    await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2');
  });

  it('of the network under a fleet', async () => {
    const network = await TestNetwork.open(lab.id, 10, 20);
    const wired = lab.fleet('n');
    await lab.ok(
      'spawn',
      wired,
      '--base',
      golden,
      '--count',
      '1',
      '--memory',
      '16MiB',
      '--network',
      `network=${network.name}`,
      '--no-start',
    );
    await network.close();
    const reply = await answer('start', wired);
    expect([reply.got, reply.hint]).toEqual(['4 TOOL_FAILED', expect.stringContaining('virsh net-list')]);
    expect((await lab.ok('status', wired)).counts.shutOff).toBe(1);
    expect((await answer('spawn', wired)).got).toBe('3 PREFLIGHT_FAILED');
    await lab.ok('teardown', wired, '--yes');
  });

  it('and the fleet can be removed without its base image', async () => {
    await rm(await imagePath('golden'));
    await lab.ok('stop', fleet, '1', '--timeout', '1s', '--force');
    expect((await lab.ok('teardown', fleet, '--yes')).counts).toMatchObject({ removed: 3, failed: 0 });
    expect((await lab.ok('list')).fleets.map((row: { fleet: string }) => row.fleet)).toEqual([sibling]);
  });
});
