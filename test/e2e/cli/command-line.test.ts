import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse as parseCsv } from 'csv-parse/sync';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { bin, guest, Lab, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

type Row = Record<string, any>;

/** Names of fleets, members and commands on the command line. */
describe('the command line', () => {
  let lab: Lab;
  let golden: string;
  let [web, db]: [string, string] = ['', ''];

  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    [web, db] = [lab.fleet('web'), lab.fleet('db')];
    await lab.ok('up', web, '--base', golden, '--count', '3', ...guest);
    await lab.ok('spawn', db, '--base', golden, '--count', '2', ...guest, '--no-start');
  });
  afterAll(() => lab.close());

  async function labFile(name: string): Promise<string> {
    const path = join(lab.scratch, name);
    const of = (fleet: string, count: number) => ({ name: fleet, base: golden, count, memory: '16MiB', network: 'none' });
    await writeFile(path, JSON.stringify({ fleets: [of(web, 3), of(db, 2)] }));
    return path;
  }

  it('suggests a similar command, as text and as JSON, also for help', async () => {
    const message = 'Unknown command "spwan". Did you mean "spawn"?';
    const [text, json, topic, help, version] = await Promise.all([
      lab.cowherd('spwan', web),
      lab.cowherd('spwan', web, '--json'),
      lab.cowherd('base', 'lits', '--json'),
      lab.cowherd('spwan', '--help'),
      lab.cowherd('-v'),
    ]);
    expect(text).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringContaining(`Error: ${message}\n→ `) });
    expect(json).toMatchObject({ exitCode: 2, stderr: '', json: { error: { code: 'BAD_USAGE', message } } });
    expect(topic.json.error.message).toContain('Did you mean "base list"?');
    expect(help).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) });
    expect(version).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^cowherd\//) });
  });

  it('accepts the command names of similar tools as aliases', async () => {
    const [help, down] = await Promise.all([lab.cowherd('stop', '-h'), lab.cowherd('down', '-h')]);
    expect(help).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^Shut members down/) });
    expect(down.stdout).toMatch(/docker compose down[\s\S]*ALIASES/);
    expect((await lab.ok('ls')).fleets).toHaveLength(2);
    expect((await lab.ok('ps', web)).counts.running).toBe(3);
    // An alias is recorded under the command's own name in journal and outcome.
    expect((await lab.ok('up', web)).operation.verb).toBe('spawn');
  });

  it('succeeds in resuming if nothing is unfinished', async () => {
    expect(await lab.cowherd('resume', web)).toMatchObject({ exitCode: 0, stdout: `${web}: nothing to resume` });
    const unknown = await lab.answer('resume', lab.fleet('nosuch'));
    expect(unknown).toMatchObject({ exitCode: 5, json: { error: { code: 'FLEET_NOT_FOUND' } } });
  });

  longIt('names the command that has locked a fleet, shows it in status, and waits for it with --lock-timeout', async () => {
    // Boot-sector guests do not react to the power button: the stop waits for its timeout.
    const stop = lab.begin('stop', web, '1', '--timeout', '8s');
    await until('the stop to begin', async () => (await lab.ok('status', web)).lock !== undefined);
    const waiting = lab.cowherd('start', web, '--lock-timeout', '2m', '--json');
    const [refused, shown, listed] = await Promise.all([lab.cowherd('reset', web, '--json'), lab.cowherd('status', web), lab.ok('list')]);
    expect(refused).toMatchObject({
      exitCode: 6,
      json: {
        error: {
          code: 'LOCKED',
          message: expect.stringMatching(
            new RegExp(`^Fleet ${web} is locked by "cowherd stop" \\(pid ${stop.pid}, since [\\d-]+ [\\d:]+ UTC\\)$`),
          ),
          hint: expect.stringContaining('--lock-timeout 5m'),
        },
      },
    });
    expect(shown.stdout).toMatch(new RegExp(`^  in progress: "cowherd stop" \\(pid ${stop.pid}, since .*\\)$`, 'm'));
    expect(listed.fleets).toContainEqual(expect.objectContaining({ fleet: web, running: 'stop' }));
    expect((await stop).exitCode).toBe(4);
    expect(await waiting).toMatchObject({ exitCode: 0, json: { counts: { failed: 0 } } });
    expect((await lab.ok('status', web)).lock).toBeUndefined();
  });

  it('accepts member names, several fleets, and a fleet file', async () => {
    const off = await lab.ok('stop', `${web}-002`, '--force', '--timeout', '1s');
    expect(off.counts).toMatchObject({ stopped: 1 });
    expect((await lab.ok('status', web)).counts).toMatchObject({ running: 2, shutOff: 1 });
    const both = await lab.ok('status', `${web}-002`, db, `${web}-001`);
    expect(both.fleets.map((one: Row) => one.members.map((row: Row) => row.index))).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect((await lab.ok('template', 'render', `${web}-002`)).name).toBe(`${web}-002`);
    const started = await lab.ok('start', `${web}-002`, `${db}-001`);
    expect(started.fleets.map((one: Row) => one.counts.started)).toEqual([1, 1]);

    const ambiguous = await lab.answer('reset', web, db, '2');
    expect(ambiguous).toMatchObject({ exitCode: 2, json: { error: { hint: expect.stringContaining(`${web}-001`) } } });
    const nosuch = await lab.answer('stop', db, `${web}-009`, '--force', '--timeout', '1s');
    expect(nosuch).toMatchObject({ exitCode: 5, json: { error: { code: 'MEMBER_NOT_FOUND' } } });
    expect((await lab.ok('status', db)).counts.running).toBe(1);

    // Boot-sector guests have no agent, and no address.
    const file = await labFile('named.yaml');
    const ran = await lab.answer('exec', '--file', file, '--', 'true');
    expect([ran.exitCode, ran.json.fleets.map((one: Row) => [one.fleet, one.counts.failed])]).toEqual([
      4,
      [
        [web, 3],
        [db, 2],
      ],
    ]);
    const copied = await lab.answer('cp', '--file', file, golden, ':/root/');
    expect(copied.json.fleets.map((one: Row) => one.counts.failed)).toEqual([3, 2]);
    const inventory = await lab.cowherd('inventory', '--file', file, '--format', 'ansible');
    expect(Object.keys(parseYaml(inventory.stdout))).toEqual([web, db].map((name) => name.replaceAll('-', '_')));
  });

  it('does not read arguments from a pipe, so that it works in shell loops', async () => {
    const piped = await execa('bash', ['-c', '"$@" && cat', 'bash', process.execPath, bin, 'status', web, '--json'], {
      env: lab.env,
      input: '2\n',
    });
    const [document, rest] = piped.stdout.split(/(?<=^\})\n/m);
    expect(JSON.parse(document ?? '').members).toHaveLength(3);
    expect(rest).toBe('2');
  });

  it('shows the consoles of whole fleets, each line after the name of its member', async () => {
    await lab.ok('start', web, db, '--wait', 'console=^OK');
    const { stdout } = await lab.cowherd('logs', web, `${db}-001`, '--tail', '1');
    expect(stdout.split('\n').map((line) => line.replace(/ +\| OK [0-9a-f]+$/, ' OK'))).toEqual(
      [`${web}-001`, `${web}-002`, `${web}-003`, `${db}-001`].map((name) => `${name} OK`),
    );
    const follow = lab.begin('logs', web, '-f');
    let seen = '';
    follow.stdout?.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    await until('the lines so far', async () => seen.split('\n').length > 3);
    // A restarted guest begins a new log.
    await lab.ok('reset', `${web}-002`);
    await until('what came', async () => seen.split(`${web}-002 | OK`).length === 3);
    follow.kill('SIGINT');
    await follow;
    expect((await lab.ok('logs', web)).members.map((one: Row) => one.console)).toEqual(Array(3).fill(expect.stringMatching(/^OK/)));
  });

  it('shows the requested members, fleets and columns in the requested format', async () => {
    await lab.ok('stop', `${db}-002`, '--force', '--timeout', '1s');
    await virsh('undefine', `${db}-002`);
    const [csv, yaml, json, wide, troubled, off, listed, wrong] = await Promise.all([
      lab.cowherd('status', '-o', 'csv', '--columns', 'member,state,overlay', '--sort=-member'),
      lab.cowherd('status', web, '-o', 'yaml'),
      lab.cowherd('status', lab.fleet('nosuch'), '-o', 'json'),
      lab.cowherd('ls', '-o', 'wide'),
      lab.cowherd('status', '--problems'),
      lab.ok('status', web, '--state', 'off'),
      lab.ok('list', '--problems'),
      lab.cowherd('status', web, '--columns', 'member,stat'),
    ]);
    const rows = parseCsv(csv.stdout, { columns: true }) as Row[];
    expect(rows.map((row) => [row.member, row.state])).toEqual([
      [`${web}-003`, 'running'],
      [`${web}-002`, 'running'],
      [`${web}-001`, 'running'],
      [`${db}-002`, 'broken'],
      [`${db}-001`, 'running'],
    ]);
    expect(Number(rows[0]?.overlay)).toBeGreaterThan(0);
    expect(parseYaml(yaml.stdout)).toMatchObject({ fleet: web, counts: { running: 3 } });
    expect([json.exitCode, JSON.parse(json.stdout).error.code]).toEqual([5, 'FLEET_NOT_FOUND']);
    expect(wide.stdout).toMatch(/^FLEET.*BROKEN.*STATE$/m);
    expect(troubled.stdout).toContain(`${db}-002  broken`);
    expect(troubled.stdout).not.toContain(web);
    expect(off.members).toEqual([]);
    expect(listed.fleets.map((one: Row) => one.fleet)).toEqual([db]);
    expect(wrong).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringContaining('Did you mean "state"?') });
    await lab.ok('spawn', db);
  });

  it('starts the next fleet of a file while the previous one waits for its guests', async () => {
    const file = await labFile('waiting.yaml');
    const run = lab.begin('up', '-f', file, '--wait', 'console=NEVER', '--timeout', '30s');
    const isAtWork = async (fleet: string): Promise<boolean> => (await lab.ok('status', fleet)).lock?.verb === 'spawn';
    await until('both to be waited for', async () => (await isAtWork(web)) && (await isAtWork(db)), 30);
    run.kill('SIGINT');
    expect((await run).exitCode).toBe(130);
  });
});
