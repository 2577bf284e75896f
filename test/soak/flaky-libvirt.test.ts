import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fault, faulty } from '../support/flaky-libvirt.js';
import { type Answer, bin, guest, Lab } from '../support/lab.js';

/** Longer than any normal answer takes on a busy machine. */
const hangs = '20s';

/** The real virsh with chosen calls that fail: other calls work, the message names the call, and nothing is left behind. */
describe('a slow or failing libvirt', () => {
  let lab: Lab;
  let golden: string;

  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    await lab.ok('base', 'add', golden);
  });
  afterAll(() => lab.close());

  const spawning = (fleet: string): string[] => ['spawn', fleet, '--base', 'golden', '--count', '3', '--no-start', ...guest];

  /** One member failed with an error that names the call; the others are done. */
  function expectOneFailed({ exitCode, json }: Answer, doing: RegExp, others: number): void {
    expect(exitCode, JSON.stringify(json)).toBe(4);
    const failed = json.members.filter((member: { outcome: string }) => member.outcome === 'failed');
    expect(failed).toHaveLength(1);
    expect(failed[0].error.message).toMatch(doing);
    expect(failed[0].error.message).toContain(failed[0].name);
    expect(failed[0].error.hint).not.toBe('');
    expect(json.members.length - failed.length).toBe(others);
  }

  it('spawn: a definition without an answer fails only that member, and the next run completes', async () => {
    const fleet = lab.fleet('hang');
    // The first member is defined alone, with schema validation.
    expectOneFailed(
      await faulty(lab, { match: '^define', nth: 2, do: 'hang' }, hangs, ...spawning(fleet)),
      /Could not define .* did not respond .* within 20 s/,
      2,
    );
    expect((await lab.ok(...spawning(fleet))).counts).toMatchObject({ created: 1, failed: 0 });
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ shutOff: 3 });

    expectOneFailed(await faulty(lab, { match: '^start', nth: 2, do: 'hang' }, hangs, 'start', fleet), /Could not start /, 2);
    await lab.ok('start', fleet);
    expectOneFailed(await faulty(lab, { match: '^destroy', nth: 1, do: 'hang' }, hangs, 'reset', fleet), /Could not stop /, 2);
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 3, failed: 0 });
    expectOneFailed(
      await faulty(lab, { match: '^undefine', nth: 3, do: 'hang' }, hangs, 'teardown', fleet, '--yes'),
      /Could not undefine /,
      2,
    );
    await lab.ok('teardown', fleet, '--yes');
  });

  it('lists: no answer, a lost connection or unreadable output change nothing', async () => {
    const fleet = lab.fleet('list');
    await lab.ok(...spawning(fleet));
    const world = await lab.world(fleet);
    const faults: Array<[Fault, number, RegExp]> = [
      [{ match: '^list', times: 99, do: 'hang' }, 8, /Could not list domains: libvirt did not respond/],
      [{ match: '^domstats', times: 99, do: 'die' }, 8, /Could not list the states of domains: The connection to libvirt ended/],
      [{ match: '^list', times: 99, do: 'garbage', text: 'Segmentation fault' }, 8, /an unreadable line: "Segmentation fault"/],
      // As one domain with no name, or with half of its UUID.
      [{ match: '^list', times: 99, do: 'cut' }, 8, /an unreadable line|but does not list it/],
      [{ match: '^list', times: 99, do: 'garbage', text: '' }, 8, /but does not list it/],
      [{ match: '^list', times: 99, do: 'error', text: 'internal error: connection closed due to keepalive timeout' }, 8, /keepalive/],
      [{ match: '^domstats', times: 99, do: 'error', text: 'Cannot recv data: Connection reset by peer' }, 8, /reset by peer/],
    ];
    for (const [fault, code, message] of faults) {
      // If such a list were trusted, disks of running members would be removed.
      const { exitCode, json } = await faulty(lab, fault, fault.do === 'hang' ? hangs : '60s', 'teardown', fleet, '--yes');
      expect(exitCode, JSON.stringify({ fault, json })).toBe(code);
      expect(json.error.message).toMatch(message);
      expect(json.error.hint).toBeTruthy();
      expect(await lab.world(fleet)).toEqual(world);
    }
    await lab.ok('teardown', fleet, '--yes');
  });

  it('survives temporary faults: lost connections, locked domains, warnings, a slow answer', async () => {
    const fleet = lab.fleet('pass');
    await lab.ok(...spawning(fleet));
    const held = 'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainCreate)';
    const warnings = [
      '2026-01-01 00:00:00.000+0000: 7: warning : virNetClientX:1 : something is odd\n',
      'warning: something else\n',
      '\n(process:77): GLib-WARNING **: 00:00:00.000: odd\n',
      '2026-01-01 00:00:00.000+0000: 7: error : virNetSocketReadWire:1791 : End of file while reading data: Input/output error\n',
    ].join('');
    const faults: Array<[Fault, ...string[]]> = [
      [{ match: '^list --all --name --uuid', do: 'error', text: 'client socket is closed' }, 'status', fleet],
      [{ match: '^domstats', do: 'die' }, 'status', fleet],
      [{ match: '^(list|domstats|metadata)', times: 99, do: 'warn', text: warnings }, 'status', fleet],
      [{ match: '^start', times: 2, do: 'error', text: `Failed to start domain\n${held}` }, 'start', fleet],
      [{ match: '^destroy', do: 'slow', ms: 2_000 }, 'reset', fleet],
    ];
    for (const [fault, ...args] of faults) {
      const { exitCode, json } = await faulty(lab, fault, '60s', ...args);
      expect(exitCode, JSON.stringify({ fault, json })).toBe(0);
    }
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 3 });
    // Locked permanently: reported after a limited number of tries.
    const { json } = await faulty(lab, { match: '^destroy', times: 99, do: 'error', text: held }, '60s', 'reset', fleet, '1');
    expect(json.members[0].error).toMatchObject({
      code: 'TOOL_TIMEOUT',
      message: expect.stringContaining('state change lock'),
      hint: expect.stringContaining('Another call holds'),
    });
    await lab.ok('teardown', fleet, '--yes');
  });

  it('reports a missing virsh, and one with output that is not English', async () => {
    const directory = join(lab.scratch, 'bin');
    await mkdir(directory);
    const run = async (): Promise<Answer> => {
      const env = { ...lab.env, PATH: directory };
      const {
        exitCode = -1,
        stdout,
        stderr,
      } = await execa(process.execPath, [bin, 'list', '--json'], { env, extendEnv: false, reject: false });
      return { exitCode, stdout, stderr, json: JSON.parse(stdout) };
    };
    await mkdir(lab.path('fleets', lab.fleet('x')), { recursive: true });
    const missing = await faulty(lab, { match: '^$', do: 'hang' }, '60s', 'status', lab.fleet('nobody'));
    expect(missing.exitCode).toBe(5);
    const doctor = await execa(process.execPath, [bin, 'doctor', '--json'], {
      env: { ...lab.env, PATH: directory },
      extendEnv: false,
      reject: false,
    });
    expect(doctor.exitCode).toBe(3);
    expect(JSON.parse(doctor.stdout).checks.find((check: { name: string }) => check.name === 'libvirt')).toMatchObject({
      status: 'failed',
      message: 'virsh is not installed',
      hint: expect.stringContaining('libvirt-clients'),
    });
    // Its stderr output begins with another word.
    await writeFile(
      join(directory, 'virsh'),
      `#!${process.execPath}\nconst echo = /echo (--err )?(.*)/;\nprocess.stdout.write('virsh # ');\nrequire('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {\n  const [, error, text] = echo.exec(line) ?? [];\n  process.stdout.write(line + '\\n');\n  if (text !== undefined) (error ? process.stderr : process.stdout).write((error ? 'Fehler: ' : '') + text.replaceAll("'", '') + (error ? '\\n' : ''));\n  process.stdout.write('virsh # ');\n});\n`,
    );
    await chmod(join(directory, 'virsh'), 0o755);
    const localised = await execa(process.execPath, [bin, 'doctor', '--json'], {
      env: { ...lab.env, PATH: directory },
      extendEnv: false,
      reject: false,
    });
    expect(JSON.parse(localised.stdout).checks.find((check: { name: string }) => check.name === 'libvirt').message).toContain(
      'expected English output',
    );
    await rm(lab.path('fleets', lab.fleet('x')), { recursive: true });
    expect((await run()).exitCode).toBe(0);
  });
});
