import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { domains, guest, Lab, virsh } from '../../support/lab.js';

describe('the verbs, one by one', () => {
  let golden: string;
  const lab = Lab.use(async () => {
    golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
  });

  const spawned = (name: string, count: number, ...more: string[]) => lab.spawned(name, golden, count, ...more);
  const stateOf = async (fleet: string): Promise<Record<string, string>> =>
    Object.fromEntries((await lab.ok('status', fleet)).members.map(({ index, state }: { index: number; state: string }) => [index, state]));

  /** The page of "report --html" shows what its JSON says, and the members' states. */
  async function checkPage(...fleets: string[]): Promise<void> {
    const page = join(lab.scratch, 'report.html');
    const { html, ...report } = await lab.ok('report', ...fleets, '--html', page);
    const text = await readFile(page, 'utf8');
    expect(html).toEqual({ file: page, bytes: Buffer.byteLength(text) });
    expect(Object.keys(report)).toEqual(Object.keys(await lab.ok('report', ...fleets)));
    for (const { fleet, perMember } of report.fleets) {
      for (const { name, driftBytes, allocatedBytes } of perMember) {
        expect(text).toMatch(
          new RegExp(
            `<td>${fleet}</td><th scope="row">${name}</th><td>running</td><td class="n" data-v="${driftBytes}">.*?</td><td class="n" data-v="${allocatedBytes}">`,
          ),
        );
      }
      expect(text).toContain(`aria-label="History of ${fleet}"`);
    }
    expect(text).toContain(`<code>golden@${report.fleets[0].base.digest.slice(0, 12)}</code>`);
    expect(text).toMatch(/<li>Used by cwt-/);

    // The earlier report is replaced, another file is not.
    const again = await lab.cowherd('report', ...fleets.slice(0, 1), '--html', page);
    expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`${page}: written, 1 fleet, 2 members`) });
    expect(await readFile(page, 'utf8')).not.toContain(`<th scope="row">${fleets[1]}-001`);
    const refused = await lab.answer('report', '--html', golden);
    expect(refused).toMatchObject({ exitCode: 2, json: { error: { code: 'BAD_USAGE' } } });
    expect((await lab.answer('report', '--html', page, '--csv')).exitCode).toBe(2);
  }

  it('spawn shows a plan, executes it, and has nothing to do the second time', async () => {
    const fleet = lab.fleet('plan');
    const dry = await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest, '--dry-run');
    expect(dry.plan.members.map((member: { steps: string[] }) => member.steps)).toEqual([
      ['overlay', 'define', 'start'],
      ['overlay', 'define', 'start'],
    ]);
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    expect((await lab.answer('status', fleet)).exitCode).toBe(5);

    expect((await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest)).counts.created).toBe(2);
    const again = await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...guest);
    expect(again.counts).toEqual({ created: 0, unchanged: 2, started: 0, failed: 0 });
    expect(again.notes.join()).toContain('already');

    // Grow, repair, and refuse to shrink with a hint.
    await virsh('destroy', `${fleet}-001`);
    await virsh('undefine', `${fleet}-001`);
    const grown = await lab.ok('spawn', fleet, '--count', '3');
    expect(grown.counts).toMatchObject({ created: 2, unchanged: 1, started: 2 });
    const shrunk = await lab.answer('spawn', fleet, '--count', '1');
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
    expect((await lab.answer('reset', fleet, '9')).exitCode).toBe(5);
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
    const refused = await lab.answer('stop', deaf, '--timeout', '1s');
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
    const late = await lab.answer(
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
    );
    expect(late.exitCode).toBe(4);
    expect(late.json.counts).toMatchObject({ failed: 2, started: 2 });
    expect(late.json.members[0]).toMatchObject({ state: 'running', step: 'wait', error: { code: 'NOT_READY' } });
    expect(late.json.members[0].error.details[0]).toMatch(/last line of its console: OK [0-9a-f]{16}/);
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
    await checkPage(web, db);
    expect((await lab.ok('reset', '--file', file)).fleets[0].counts.reset).toBe(2);
    expect((await lab.answer('teardown', '--file', file)).exitCode).toBe(3);
    await lab.ok('teardown', '--file', file, '--yes');

    await writeFile(file, 'fleets:\n  - {name: UPPER, base: golden.qcow2, count: -1, sise: 4}\n');
    const bad = await lab.answer('spawn', '--file', file);
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
    const refused = await lab.answer('spawn', fleet, '--base', chained, '--count', '1', ...guest);
    expect(refused).toMatchObject({
      exitCode: 7,
      json: { error: { code: 'BASE_REFUSED', hint: expect.stringContaining('--trust-chain') } },
    });
    await lab.ok('spawn', fleet, '--base', chained, '--trust-chain', '--count', '1', ...guest, '--wait', 'console=^OK');
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
    const closed = await lab.answer('doctor');
    await chmod(lab.store, 0o755);
    expect(closed.exitCode).toBe(3);
    expect(closed.json.checks.find((check: { name: string }) => check.name === 'store reachable by QEMU')).toMatchObject({
      status: 'failed',
      hint: `Grant access: chmod o+x ${lab.store}, or keep the store elsewhere with --store DIR.`,
    });
  });
});
