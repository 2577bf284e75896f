import { appendFile, chmod, readdir, readFile, rm, stat, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, guest, Lab, virsh } from '../../support/lab.js';

describe('the verbs, one by one', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
  });
  afterAll(() => lab.close());

  const spawned = async (name: string, count: number, ...more: string[]): Promise<string> => {
    const fleet = lab.fleet(name);
    await lab.ok('spawn', fleet, '--base', golden, '--count', String(count), ...guest, ...more);
    return fleet;
  };
  const stateOf = async (fleet: string): Promise<Record<string, string>> =>
    Object.fromEntries((await lab.ok('status', fleet)).members.map(({ index, state }: { index: number; state: string }) => [index, state]));

  it('spawn shows a plan, executes it, and has nothing to do the second time', async () => {
    const fleet = lab.fleet('plan');
    const dry = await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--dry-run');
    expect(dry.plan.members.map((member: { steps: string[] }) => member.steps)).toEqual([
      ['overlay', 'define', 'start'],
      ['overlay', 'define', 'start'],
    ]);
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    expect((await lab.cowherd('status', fleet)).exitCode).toBe(5);

    expect((await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest)).counts.created).toBe(2);
    const again = await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest);
    expect(again.counts).toEqual({ created: 0, unchanged: 2, started: 0, failed: 0 });
    expect(again.notes.join()).toContain('already');

    // Grow, repair, and refuse to shrink with a hint.
    await virsh('destroy', `${fleet}-001`);
    await virsh('undefine', `${fleet}-001`);
    const grown = await lab.ok('spawn', fleet, '--count', '3');
    expect(grown.counts).toMatchObject({ created: 2, unchanged: 1, started: 2 });
    const shrunk = await lab.cowherd('spawn', fleet, '--count', '1', '--json');
    expect(shrunk.exitCode).toBe(2);
    expect(shrunk.json.error.hint).toBe(`To shrink it: cowherd teardown ${fleet} 2-3`);
    await lab.ok('teardown', fleet, '2-3', '--yes');
    expect(await stateOf(fleet)).toEqual({ 1: 'running' });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('a changed spec is shown as a redefinition and takes effect at the next start', async () => {
    const fleet = await spawned('spec', 2);
    const dry = await lab.cowherd('spawn', fleet, '--memory', '24MiB', '--dry-run');
    expect(dry.stdout).toContain('2 members 1-2: define  (memory 16 → 24 MiB; takes effect at the next start)');
    const outcome = await lab.ok('spawn', fleet, '--memory', '24MiB');
    expect(outcome.counts).toMatchObject({ redefined: 2, started: 0 });
    expect(await virsh('dumpxml', `${fleet}-001`)).toContain("<memory unit='KiB'>16384");
    await lab.ok('reset', fleet, '1');
    expect(await virsh('dumpxml', `${fleet}-001`)).toContain("<memory unit='KiB'>24576");
    expect(await virsh('dumpxml', `${fleet}-002`)).toContain("<memory unit='KiB'>16384");
    expect((await lab.ok('spawn', fleet)).counts.unchanged).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('reset accepts members by number and does not change the others', async () => {
    const fleet = await spawned('some', 4, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '4');
    const pids = async (): Promise<string[]> => Promise.all([1, 2, 3].map(async (index) => virsh('domid', `${fleet}-00${index}`)));
    const before = await pids();
    const outcome = await lab.ok('reset', fleet, '2-3,4');
    expect(outcome.counts).toMatchObject({ reset: 3, started: 2 });
    const after = await pids();
    expect(after[0]).toBe(before[0]);
    expect(after[1]).not.toBe(before[1]);
    expect(await stateOf(fleet)).toEqual({ 1: 'running', 2: 'running', 3: 'running', 4: 'shutOff' });
    expect((await lab.ok('reset', fleet, '4', '--start', 'all')).counts.started).toBe(1);
    expect((await lab.ok('reset', fleet, `${fleet}-001`, '--start', 'none')).counts.started).toBe(0);
    expect(await stateOf(fleet)).toMatchObject({ 1: 'shutOff', 4: 'running' });
    expect((await lab.cowherd('reset', fleet, '9')).exitCode).toBe(5);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('stop uses ACPI, waits, and forces guests off only with --force', async () => {
    const fleet = await spawned('power', 2, '--wait', 'console=^OK');
    expect((await lab.ok('stop', fleet, '--timeout', '30s')).counts.stopped).toBe(2);
    const status = await lab.ok('status', fleet);
    expect(status.members[0]).toMatchObject({ state: 'shutOff', reason: 'shut down' });
    expect((await lab.ok('start', fleet)).counts.started).toBe(2);
    expect((await lab.ok('start', fleet)).counts.unchanged).toBe(2);
    await lab.ok('teardown', fleet, '--yes');

    const deaf = lab.fleet('deaf');
    await lab.ok('spawn', deaf, '--base', await lab.golden('deaf.qcow2'), '--count', '1', ...guest);
    const refused = await lab.cowherd('stop', deaf, '--timeout', '1s', '--json');
    expect(refused.exitCode).toBe(4);
    expect(refused.json.members[0]).toMatchObject({
      outcome: 'failed',
      step: 'shutdown',
      error: { code: 'NOT_STOPPED', hint: expect.stringContaining('--force') },
    });
    expect((await lab.ok('stop', deaf, '--timeout', '1s', '--force')).counts.stopped).toBe(1);
    await lab.ok('teardown', deaf, '--yes');
  });

  it('waits for a line on the console, and reports late members with their last line', async () => {
    const fleet = lab.fleet('late');
    const late = await lab.cowherd(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      '2',
      ...guest,
      '--wait',
      'console=login:',
      '--timeout',
      '3s',
      '--json',
    );
    expect(late.exitCode).toBe(4);
    expect(late.json.counts).toMatchObject({ failed: 2, started: 2 });
    expect(late.json.members[0]).toMatchObject({ state: 'running', step: 'wait', error: { code: 'NOT_READY' } });
    expect(late.json.members[0].error.details[0]).toMatch(/last line of its console: OK [0-9a-f]{16}/);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('one broken member does not hide the others, and each kind of damage is named', async () => {
    const fleet = await spawned('broken', 5, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2-4');
    await unlink(lab.overlay(fleet, `${fleet}-002`));
    await virsh('undefine', `${fleet}-003`);
    await truncate(lab.overlay(fleet, `${fleet}-004`), 10);
    await virsh('suspend', `${fleet}-005`);
    const status = await lab.ok('status', fleet);
    expect(status.counts).toEqual({ running: 1, shutOff: 1, paused: 1, broken: 2, missing: 0 });
    expect(status.members[1]).toMatchObject({ state: 'broken', problems: ['overlay is missing'] });
    expect(status.members[2]).toMatchObject({ state: 'broken', problems: ['domain is missing'] });

    const start = await lab.cowherd('start', fleet, '--json');
    expect(start.exitCode).toBe(4);
    expect(start.json.counts).toMatchObject({ failed: 3, unchanged: 1, started: 1 });
    // A damaged overlay is found before libvirt opens it.
    expect(start.json.members[3]).toMatchObject({ outcome: 'failed', error: { message: expect.stringContaining('overlay is damaged') } });
    // spawn creates what is missing, reset repairs the rest.
    expect((await lab.cowherd('spawn', fleet)).exitCode).toBe(4);
    const outcome = await lab.ok('reset', fleet, '--start', 'all');
    expect(outcome.counts).toMatchObject({ reset: 5, started: 5 });
    expect((await lab.ok('status', fleet)).counts.running).toBe(5);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('never changes a foreign domain with a member’s name', async () => {
    const fleet = lab.fleet('foreign');
    await lab.defineForeign(`${fleet}-002`);
    const foreign = await virsh('dumpxml', `${fleet}-002`);
    const refused = await lab.cowherd('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--json');
    expect(refused.exitCode).toBe(7);
    expect(refused.json.error).toMatchObject({ code: 'FOREIGN_DOMAIN', message: expect.stringContaining('nothing was changed') });
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([`${fleet}-002`]);
    await virsh('undefine', `${fleet}-002`);

    // A member is replaced by a foreign domain with the same UUID.
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--no-start');
    const uuid = (await lab.ok('status', fleet)).members[1].uuid;
    await virsh('undefine', `${fleet}-002`);
    await lab.defineForeign(`${fleet}-002`, `<uuid>${uuid}</uuid>`);
    expect((await lab.cowherd('reset', fleet)).exitCode).toBe(4);
    const partial = await lab.cowherd('teardown', fleet, '--yes', '--json');
    expect(partial).toMatchObject({ exitCode: 4, json: { counts: { removed: 1, failed: 1 } } });
    expect(partial.json.members[1].error.hint).toContain(`virsh undefine ${fleet}-002`);
    const left = await virsh('dumpxml', `${fleet}-002`);
    expect(left.replace(/<uuid>.*/, '')).toBe(foreign.replace(/<uuid>.*/, ''));
    expect((await lab.ok('status', fleet)).members[0].overlayBytes).toBeGreaterThan(0);
    await virsh('undefine', `${fleet}-002`);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('refuses a word that is not a member, instead of using all members', async () => {
    const fleet = await spawned('typo', 2);
    for (const word of ['', '1..2', '1:2', `${fleet}_001`, 'lab_3', 'nonesuch']) {
      const { exitCode } = await lab.answer('teardown', fleet, word, '--yes');
      expect([word, [2, 5].includes(exitCode)]).toEqual([word, true]);
      expect((await lab.answer('reset', fleet, word)).exitCode).toBe(exitCode);
    }
    expect((await lab.ok('status', fleet)).counts.running).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('never combines a disk with memory or a domain that does not match it', async () => {
    const fleet = await spawned('pairs', 4, '--wait', 'console=^OK');
    const disk = (index: number): string => lab.overlay(fleet, `${fleet}-00${index}`);
    // Saved memory is removed with its disk.
    await virsh('managedsave', `${fleet}-001`);
    expect((await lab.ok('reset', fleet, '1')).counts).toMatchObject({ reset: 1, started: 0 });
    expect(await virsh('dominfo', `${fleet}-001`)).toMatch(/Managed save:\s+no/);
    await lab.ok('start', fleet, '1');
    // A renamed member still runs on its overlay.
    await lab.ok('stop', fleet, '2');
    await virsh('domrename', `${fleet}-002`, `${fleet}-old`);
    await virsh('start', `${fleet}-old`);
    // With an external snapshot, its overlay is a backing file.
    await virsh(
      'snapshot-create-as',
      `${fleet}-003`,
      's',
      '--disk-only',
      '--no-metadata',
      '--diskspec',
      `vda,file=${lab.store}/fleets/${fleet}/overlays/snap`,
    );
    const before = [(await stat(disk(2))).ino, (await stat(disk(3))).ino];

    const reset = await lab.cowherd('reset', fleet, '--json');
    expect(reset).toMatchObject({ exitCode: 4, json: { counts: { reset: 2, failed: 2 } } });
    expect(reset.json.members[1].error.message).toContain(`renamed to ${fleet}-old`);
    expect(reset.json.members[2].error.hint).toContain(`virsh blockcommit ${fleet}-003 vda --base ${disk(3)}`);
    expect((await lab.cowherd('teardown', fleet, '2', '--yes')).exitCode).toBe(4);
    expect([(await stat(disk(2))).ino, (await stat(disk(3))).ino]).toEqual(before);
    expect((await lab.ok('status', fleet)).members[1].problems).toEqual([`its domain was renamed to ${fleet}-old`]);

    await virsh('destroy', `${fleet}-old`);
    await virsh('domrename', `${fleet}-old`, `${fleet}-002`);
    const torn = await lab.ok('teardown', fleet, '--yes');
    expect(torn.notes.join()).toContain('/snap');
  });

  it('refuses a changed base image, with exit 7', async () => {
    const fleet = lab.fleet('tamper');
    const own = await lab.golden('tamper.qcow2', { filledMiB: 1 });
    const { base } = await lab.ok('spawn', fleet, '--base', own, '--count', '2', ...guest);
    const { path } = await lab.ok('base', 'inspect', base.name);
    expect((await stat(path)).mode & 0o777).toBe(0o440);
    expect((await lab.cowherd('base', 'remove', base.name, '--json')).json.error).toMatchObject({
      code: 'BASE_IN_USE',
      message: expect.stringContaining(fleet),
    });
    await lab.ok('base', 'verify', base.name);

    await chmod(path, 0o644);
    await appendFile(path, 'x');
    for (const verb of [
      ['reset', fleet],
      ['spawn', fleet],
      ['start', fleet],
      ['base', 'verify', base.name],
    ]) {
      const plain = await lab.cowherd(...verb);
      const json = await lab.cowherd(...verb, '--json');
      expect([verb[0], plain.exitCode, json.exitCode, json.json.error.code]).toEqual([verb[0], 7, 7, 'BASE_CHANGED']);
      expect(plain.stderr).toContain('→');
    }
    const status = await lab.ok('status', fleet);
    expect(status.base.problem).toContain('size');
    expect(status.counts.broken).toBe(2);
    expect((await lab.ok('report', fleet)).members).toBe(2);

    // Importing the original file repairs it.
    await lab.ok('base', 'add', own, '--name', base.name);
    await lab.ok('base', 'verify', base.name);
    expect((await lab.ok('reset', fleet)).counts.reset).toBe(2);
    // A changed mtime is also found.
    await utimes(path, new Date(0), new Date(0));
    expect((await lab.cowherd('reset', fleet)).exitCode).toBe(7);
    expect((await lab.ok('teardown', fleet, '--yes')).counts.removed).toBe(2);
  });

  it('rebuilds a lost fleet.json from the domains', async () => {
    const fleet = await spawned('lost', 3);
    const path = lab.path('fleets', fleet, 'fleet.json');
    const record = JSON.parse(await readFile(path, 'utf8'));
    await rm(path);
    const lost = await lab.cowherd('status', fleet, '--json');
    expect(lost.exitCode).toBe(5);
    expect(lost.json.error.hint).toContain('--recover');
    expect((await lab.ok('list')).fleets.find((item: { fleet: string }) => item.fleet === fleet).problem).toContain('fleet.json');
    expect((await lab.ok('status', fleet, '--recover')).counts.running).toBe(3);
    const { createdAt: _, ...rebuilt } = JSON.parse(await readFile(path, 'utf8'));
    expect(record).toMatchObject(rebuilt);
    expect((await lab.ok('spawn', fleet)).counts.unchanged).toBe(3);

    await writeFile(path, '{"version": 1, "id"');
    expect((await lab.cowherd('status', fleet)).exitCode).toBe(7);
    await lab.ok('status', fleet, '--recover');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('refuses a template that renders an invalid domain, before anything is created', async () => {
    const built = await readFile(new URL('../../../templates/domain.xml.hbs', import.meta.url), 'utf8');
    const fleet = lab.fleet('template');
    const cases: Array<[string, string, RegExp]> = [
      ['not well-formed', built.replace('</devices>', ''), /not well-formed at line \d+/],
      ['without the mark', built.replace('<metadata>{{{metadata}}}</metadata>', ''), /lacks cowherd's mark/],
      ['with a foreign name', built.replace('<name>{{name}}', '<name>x{{name}}'), /<name> is "x/],
      ['without the overlay', built.replace('<source file="{{overlay}}"/>', '<source file="/dev/null"/>'), /0 disks have the overlay/],
      [
        'with an open backing chain',
        built.replace(
          /^ {6}\{\{\{backing\}\}\}$/m,
          '<backingStore type="file"><format type="{{base.format}}"/><source file="{{base.path}}"/></backingStore>',
        ),
        /backing chain is not terminated/,
      ],
      ['with an unknown variable', built.replace('{{memoryMiB}}', '{{memry}}'), /"memry" not defined/],
      ['against the schema', built.replace('<vcpu>', '<vcpux>').replace('</vcpu>', '</vcpux>'), /schema|vcpux/],
      ['that libvirt refuses', built.replace('machine="{{machine}}"', 'machine="toaster"'), /toaster|machine|PCI/],
    ];
    for (const [what, template, message] of cases) {
      const path = join(lab.scratch, 'bad.xml.hbs');
      await writeFile(path, template);
      const { exitCode, json } = await lab.cowherd(
        'spawn',
        fleet,
        '--base',
        golden,
        '--count',
        '3',
        ...guest,
        '--template',
        path,
        '--json',
      );
      expect([what, exitCode]).toEqual([what, 2]);
      expect([what, json.error.message, ...(json.error.details ?? [])].join('\n')).toMatch(message);
      expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
      expect(await readdir(lab.path('fleets'))).not.toContain(fleet);
    }
    expect((await lab.cowherd('status', fleet)).exitCode).toBe(5);
  });

  it('ejects a template, renders it with variables, and uses it', async () => {
    const path = join(lab.scratch, 'mine.xml.hbs');
    await lab.ok('template', 'eject', path);
    expect((await lab.cowherd('template', 'eject', path)).exitCode).toBe(2);
    await writeFile(path, (await readFile(path, 'utf8')).replace('<metadata>', '<title>{{vars.role}} {{index}}</title>\n  <metadata>'));
    const fleet = lab.fleet('mine');
    const missing = await lab.cowherd('spawn', fleet, '--base', golden, '--count', '1', ...guest, '--template', path, '--json');
    expect(missing.json.error.hint).toContain('--var role=VALUE');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--template', path, '--var', 'role=<db> & "web"');
    expect((await virsh('desc', '--title', `${fleet}-002`)).trim()).toBe('<db> & "web" 2');
    expect((await lab.ok('template', 'render', fleet, '2')).xml).toContain('&lt;db&gt;');
    // The fleet keeps its own copy of the template.
    await rm(path);
    expect((await lab.ok('spawn', fleet, '--count', '3')).counts).toMatchObject({ created: 1, unchanged: 2 });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('runs a lab of several fleets from a file with a shared base image', async () => {
    const [web, db] = [lab.fleet('web'), lab.fleet('db')];
    const file = join(lab.scratch, 'lab.yaml');
    await writeFile(
      file,
      `fleets:\n  - {name: ${web}, base: golden.qcow2, count: 2, memory: 16MiB, network: none}\n  - {name: ${db}, base: ./golden.qcow2, count: 1, memory: 16, network: none}\n`,
    );
    const made = await lab.ok('spawn', '--file', file);
    expect(made.fleets.map((outcome: { fleet: string }) => outcome.fleet)).toEqual([web, db]);
    const report = await lab.ok('report', web, db);
    expect(report.total).toMatchObject({ members: 3, bases: 1 });
    expect(report.total.baseBytes).toBe(report.fleets[0].base.allocatedBytes);
    expect((await lab.ok('status', '--file', file)).fleets).toHaveLength(2);
    expect((await lab.cowherd('report', web, '--csv')).stdout.split('\n')).toHaveLength(3);
    expect((await lab.ok('reset', '--file', file)).fleets[0].counts.reset).toBe(2);
    expect((await lab.cowherd('teardown', '--file', file, '--json')).exitCode).toBe(3);
    await lab.ok('teardown', '--file', file, '--yes');

    await writeFile(file, 'fleets:\n  - {name: UPPER, base: golden.qcow2, count: -1, sise: 4}\n');
    const bad = await lab.cowherd('spawn', '--file', file, '--json');
    expect(bad.exitCode).toBe(2);
    expect(bad.json.error.details.join('\n')).toMatch(/fleets\[0\]\.name: [\s\S]*fleets\[0\]\.count: /);
  });

  it('can be based on a raw image, and on a flattened chain', async () => {
    const fleet = lab.fleet('raw');
    const raw = await lab.golden('golden.raw', { format: 'raw' });
    await lab.ok('spawn', fleet, '--base', raw, '--count', '1', ...guest, '--wait', 'console=^OK');
    expect((await lab.ok('base', 'inspect', 'golden')).format).toMatch(/raw|qcow2/);
    await lab.ok('teardown', fleet, '--yes');

    const chained = join(lab.scratch, 'chained.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', golden, chained]);
    const refused = await lab.cowherd('spawn', fleet, '--base', chained, '--count', '1', ...guest, '--json');
    expect(refused).toMatchObject({
      exitCode: 7,
      json: { error: { code: 'BASE_REFUSED', hint: expect.stringContaining('--trust-chain') } },
    });
    await lab.ok('spawn', fleet, '--base', chained, '--trust-chain', '--count', '1', ...guest, '--wait', 'console=^OK');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('refuses to use more memory than available, unless forced', async () => {
    const fleet = lab.fleet('ram');
    const { exitCode, json } = await lab.cowherd('spawn', fleet, '--base', golden, '--count', '500', '--memory', '1PiB', '--json');
    expect([exitCode, json.error.code]).toEqual([2, 'BAD_USAGE']);
    const tooMuch = await lab.cowherd(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      '50',
      '--memory',
      '64GiB',
      '--network',
      'none',
      '--json',
    );
    expect(tooMuch).toMatchObject({
      exitCode: 3,
      json: { error: { code: 'PREFLIGHT_FAILED', message: expect.stringContaining('nothing was changed') } },
    });
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    const offline = await lab.cowherd(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      '1',
      ...guest.slice(0, 2),
      '--network',
      'network=nonesuch',
      '--json',
    );
    expect(offline.json.error.message).toContain('nonesuch not found');
  });

  it('status --memory shows the memory use of each QEMU, and status without it does not read it', async () => {
    const fleet = await spawned('taken', 3, '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '3', '--timeout', '30s');
    expect(JSON.stringify(await lab.ok('status', fleet))).not.toContain('"memory"');
    const { memory, members } = await lab.ok('status', fleet, '--memory');
    expect(members[2]).toMatchObject({ state: 'shutOff', memory: null });
    expect(memory).toMatchObject({ on: 2, read: 2, guestBytes: 2 * 16 * 1024 ** 2, notes: [] });
    for (const key of ['residentBytes', 'proportionalBytes', 'swapBytes', 'mergedBytes'])
      expect([key, memory[key]]).toEqual([key, members[0].memory[key] + members[1].memory[key]]);
    // Compared with libvirt's pid.
    for (const member of members.slice(0, 2)) {
      const pid = (await readFile(`/run/libvirt/qemu/${member.name}.pid`, 'utf8')).trim();
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
      const now = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)?.[1]) * 1024;
      expect(Math.abs(Math.log2(member.memory.residentBytes / now('Rss')))).toBeLessThan(0.3);
      // Other processes share a varying part of QEMU's pages.
      expect(member.memory.proportionalBytes / now('Pss')).toBeGreaterThan(0.5);
      expect(member.memory.proportionalBytes).toBeLessThan(member.memory.residentBytes);
    }
    const { stdout } = await lab.cowherd('status', fleet, '--memory');
    expect(stdout).toMatch(/RESIDENT +PROPORTIONAL/);
    expect(stdout).toMatch(/-003 +off .* - +- +shut down/);
    expect(stdout).toMatch(/memory: 2 guests with 32 MiB assigned; [\d.]+ MiB proportional, [\d.]+ MiB resident/);
    await lab.ok('stop', fleet, '--force');
    expect((await lab.cowherd('status', fleet, '--memory')).stdout).toContain('memory: no running members');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('doctor finds this host ready', async () => {
    const { checks } = await lab.ok('doctor', '--count', '10', '--memory', '16MiB');
    expect(checks.filter((check: { status: string }) => check.status === 'failed')).toEqual([]);
    expect(checks.map((check: { name: string }) => check.name)).toEqual(
      expect.arrayContaining([
        'qemu-img',
        'libvirt',
        'user',
        'accelerator',
        'store',
        'store reachable by QEMU',
        'free disk',
        'memory',
        'libvirtd limits',
        'open files',
      ]),
    );
    // KSM is reported, but never as a problem.
    const run = (await readFile('/sys/kernel/mm/ksm/run', 'utf8').catch(() => undefined))?.trim();
    expect(checks.find((check: { name: string }) => check.name === 'ksm')).toMatchObject({
      status: 'ok',
      message: expect.stringMatching(run === undefined ? /^not available/ : run === '1' ? /^on: saves / : /^off: /),
      ...(run === undefined ? {} : { hint: expect.stringMatching(/sudo tee \/sys\/kernel\/mm\/ksm\/run.*by timing|by timing.*sudo tee/) }),
    });
    await chmod(lab.store, 0o700);
    const closed = await lab.cowherd('doctor', '--json');
    await chmod(lab.store, 0o755);
    expect(closed.exitCode).toBe(3);
    expect(closed.json.checks.find((check: { name: string }) => check.name === 'store reachable by QEMU')).toMatchObject({
      status: 'failed',
      hint: `Grant access: chmod o+x ${lab.store}, or keep the store elsewhere with --store DIR.`,
    });
  });
});
