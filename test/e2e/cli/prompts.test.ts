import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { bin, guest, Lab, until, virsh } from '../../support/lab.js';

/** Confirmation before data loss or a shutdown, with and without a terminal. */
describe('a confirmation', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  /** Runs cowherd in a terminal and answers its question. @returns the screen and the exit code */
  const answered = async (answer: string, ...words: string[]): Promise<{ screen: string; exitCode: number | undefined }> => {
    const command = [process.execPath, bin, ...words].map((word) => `'${word}'`).join(' ');
    const run = execa('script', ['-qefc', `stty cols 200; ${command}`, '/dev/null'], {
      env: { ...lab.env, SHELL: '/bin/sh' },
      stdin: 'pipe',
      reject: false,
    });
    let screen = '';
    run.stdout.on('data', (chunk) => {
      screen += String(chunk);
    });
    await until('the question', async () => screen.includes('[y/N]'));
    run.stdin.write(`${answer}\n`);
    const { exitCode } = await run;
    return { screen: screen.replaceAll('\r', ''), exitCode };
  };

  it('before a teardown lists the losses; "n" keeps everything, "y" removes it', async () => {
    const golden = await lab.golden('golden.qcow2');
    const fleet = lab.fleet('asked');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--wait', 'console=^OK');
    await lab.ok('checkpoint', fleet, '1-2');
    await lab.ok('stop', fleet, '3', '--force', '--timeout', '1s');

    const refused = await lab.cowherd('teardown', fleet);
    expect(refused.exitCode).toBe(3);
    expect(refused.stderr).toMatch(
      new RegExp(`stdin is not a terminal\n {2}${fleet}: 3 members \\(2 running\\), [\\d.]+ Ki?B of drift, 2 checkpoints\n→ Add --yes`),
    );
    const no = await answered('n', 'teardown', fleet);
    expect(no.screen).toMatch(
      new RegExp(`  ${fleet}: 3 members \\(2 running\\), .* of drift, 2 checkpoints\nTear down ${fleet}\\? \\[y/N\\]`),
    );
    expect(no.screen.trimEnd().endsWith('\nCanceled.')).toBe(true);
    expect([no.exitCode, no.screen.includes('Error')]).toEqual([3, false]);
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 2, shutOff: 1 });

    const some = await answered('', 'teardown', fleet, '3');
    expect(some.screen).toMatch(/: 1 member \(0 running\), [^,]* of drift\nTear down members 3 of/);
    const yes = await answered('y', 'teardown', fleet);
    expect([yes.exitCode, yes.screen]).toEqual([0, expect.stringContaining('3 removed')]);
    expect((await lab.cowherd('teardown', fleet)).exitCode).toBe(5);
  });

  it('before a snapshot of a running domain mentions the shutdown; not needed with --yes or if the domain is stopped', async () => {
    const domain = await ForeignDomain.define(lab, 'asked', ['qcow2']);
    await domain.start();
    await domain.booted();
    const id = await virsh('domid', domain.name);
    const refused = await lab.cowherd('snapshot', 'take', domain.name, '--name', 'one');
    expect([refused.exitCode, refused.stderr]).toEqual([3, expect.stringContaining(`${domain.name} is running: it will be shut down`)]);
    expect(refused.stderr).toContain('→ Add --yes, or look first with --print-diff.');
    expect((await lab.answer('snapshot', 'take', domain.name)).json.error.code).toBe('CONFIRMATION_NEEDED');
    expect((await lab.cowherd('snapshot', 'take', domain.name, '--print-diff')).exitCode).toBe(0);

    const no = await answered('n', 'snapshot', 'take', domain.name, '--name', 'one', '--no-start');
    expect(no.screen).toContain(`${domain.name} is running: it will be shut down and stay off. Continue? [y/N]`);
    expect([no.exitCode, no.screen.trimEnd().endsWith('\nCanceled.')]).toEqual([3, true]);
    expect(await virsh('domid', domain.name)).toBe(id);
    const yes = await answered('y', 'snapshot', 'take', domain.name, '--name', 'one');
    expect([yes.exitCode, yes.screen]).toEqual([0, expect.stringContaining('started again')]);

    await domain.stop();
    expect((await lab.answer('snapshot', 'take', domain.name, '--name', 'two')).exitCode).toBe(0);
  });
});
