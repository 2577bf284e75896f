import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, until } from './lab.js';

/** How fleets, members and commands are named on the command line. */
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

  it('suggests the command that was meant, as text and as a document, also for help', async () => {
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

  it('knows commands by the names that similar tools have for them', async () => {
    const [help, down] = await Promise.all([lab.cowherd('stop', '-h'), lab.cowherd('down', '-h')]);
    expect(help).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^Shut members down/) });
    expect(down.stdout).toMatch(/docker compose down[\s\S]*ALIASES/);
    expect((await lab.ok('ls')).fleets).toHaveLength(2);
    expect((await lab.ok('ps', web)).counts.running).toBe(3);
    // A verb by another name is the same verb, in its journal and its outcome, too.
    expect((await lab.ok('up', web)).operation.verb).toBe('spawn');
  });

  it('has nothing against resuming where nothing is unfinished', async () => {
    expect(await lab.cowherd('resume', web)).toMatchObject({ exitCode: 0, stdout: `${web}: nothing to resume` });
    const unknown = await lab.answer('resume', lab.fleet('nosuch'));
    expect(unknown).toMatchObject({ exitCode: 5, json: { error: { code: 'FLEET_NOT_FOUND' } } });
  });

  it('says which verb has a fleet locked, shows it in status, and waits for it when asked to', async () => {
    // Boot-sector guests do not react to the power button: the stop waits for its time-out.
    const stop = lab.begin('stop', web, '1', '--timeout', '8s');
    await until('the stop to be under way', async () => (await lab.ok('status', web)).lock !== undefined);
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
    expect(shown.stdout).toMatch(new RegExp(`^  "cowherd stop" \\(pid ${stop.pid}, since .*\\) is under way$`, 'm'));
    expect(listed.fleets).toContainEqual(expect.objectContaining({ fleet: web, running: 'stop' }));
    expect((await stop).exitCode).toBe(4);
    expect(await waiting).toMatchObject({ exitCode: 0, json: { counts: { failed: 0 } } });
    expect((await lab.ok('status', web)).lock).toBeUndefined();
  });
});
