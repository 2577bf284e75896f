import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect } from 'vitest';
import { bin, type Lab, until } from '../lab.js';

/** exec, ssh and cp on the command line. @param fleet with two Linux members that are ready for agent and ssh */
export async function workOnTheCommandLine(lab: Lab, fleet: string): Promise<void> {
  const [first, second] = [`${fleet}-001`, `${fleet}-002`];

  // With ssh, lines are shown while the command runs.
  const run = lab.begin('exec', fleet, '--via', 'ssh', '--', 'echo begun; while [ ! -e /tmp/go ]; do sleep 0.2; done; echo over');
  let seen = '';
  run.stdout?.on('data', (chunk: Buffer) => {
    seen += chunk.toString();
  });
  await until('the first lines', async () => seen.includes(`${first} | begun\n`) && seen.includes(`${second} | begun\n`));
  expect(seen).not.toContain('over');
  await lab.ok('exec', fleet, '--', 'touch', '/tmp/go');
  const { stdout, exitCode } = await run;
  expect([String(stdout).split('\n').sort(), exitCode]).toEqual([
    [`${first} | begun`, `${first} | over`, `${second} | begun`, `${second} | over`],
    0,
  ]);

  const grouped = await lab.cowherd('exec', fleet, '--group', '--', 'echo same; [ $(hostname) != x ]');
  expect(grouped.stdout).toBe(`${fleet} 1-2 (2 members)\n  | same`);

  // Both get all bytes, also binary data; more than an agent accepts goes through ssh.
  for (const [via, size] of [
    ['agent', 60_000],
    ['ssh', 1_000_000],
    ['auto', 70_000],
  ] as const) {
    const input = Buffer.alloc(size, '\u0000\u00ffab\n', 'latin1');
    const fed = await execa(process.execPath, [bin, 'exec', fleet, '--stdin', '--via', via, '--group', '--', 'wc', '-c'], {
      env: lab.env,
      input,
    });
    expect(fed.stdout).toBe(`${fleet} 1-2 (2 members)\n  | ${size}`);
  }
  const large = { env: lab.env, input: Buffer.alloc(70_000), reject: false };
  const refused = await execa(process.execPath, [bin, 'exec', fleet, '1', '--stdin', '--via', 'agent', '--', 'cat'], large);
  expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining(`cowherd cp FILE ${first}:/tmp/`)]);
  const tooMuch = await execa(process.execPath, [bin, 'exec', fleet, '--stdin', '--', 'cat'], {
    env: lab.env,
    input: Buffer.alloc(1_100_000),
    reject: false,
  });
  expect([tooMuch.exitCode, tooMuch.stderr]).toEqual([2, expect.stringContaining('→ Copy it into the guests')]);

  // All words after the name of a member are for the guest, also those that look like flags.
  expect(await lab.cowherd('ssh', second, 'echo', '-h', '--help')).toMatchObject({ exitCode: 0, stdout: '-h --help' });
  expect(await lab.cowherd('ssh', fleet, '2', 'hostname')).toMatchObject({ exitCode: 0, stdout: second });

  const file = join(lab.scratch, 'note');
  await writeFile(file, 'noted');
  expect((await lab.ok('cp', file, `${first},${second}:/root/`)).counts).toEqual({ ok: 2, failed: 0 });
  const fetched = join(lab.scratch, 'fetched');
  await mkdir(fetched);
  await lab.ok('cp', `${first},${second}:/root/note`, fetched);
  expect(await readFile(join(fetched, second, 'note'), 'utf8')).toBe('noted');
}
