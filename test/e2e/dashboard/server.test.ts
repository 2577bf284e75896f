import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, describe, expect, inject, it, vi } from 'vitest';
import type { JobView, MemberView } from '../../../src/dashboard/protocol.js';
import { DashboardClient, type DashboardStream } from '../../support/dashboard-client.js';
import { Lab, virsh } from '../../support/lab.js';

const domainTemplate = fileURLToPath(new URL('../../../templates/domain.xml.hbs', import.meta.url));
const patient = { timeout: 60_000, interval: 50 };

/** `cowherd dashboard` with real guests that have a screen, as a page sees it. */
describe('the dashboard', () => {
  const lab = Lab.use(async () => {
    const template = join(lab.scratch, 'screen.xml.hbs');
    const screen = "<graphics type='vnc'><listen type='socket'/></graphics><video><model type='vga'/></video>";
    await writeFile(template, (await readFile(domainTemplate, 'utf8')).replace('<memballoon', `${screen}<memballoon`));
    const guest = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'nocloud', '--network', 'none'];
    await lab.ok('spawn', fleet, '--count', '2', '--template', template, ...guest, '--wait', 'agent');
  });
  const fleet = lab.fleet('seen');
  const [first, second] = [`${fleet}-001`, `${fleet}-002`];
  const begun: Array<ReturnType<Lab['begin']>> = [];
  const streams: DashboardStream[] = [];
  afterAll(() => {
    for (const run of begun) run.kill('SIGKILL');
  });

  /** Starts a server. @returns its process, and the lines that it prints */
  async function serve(...more: string[]): Promise<{ run: ReturnType<Lab['begin']>; urls: string[] }> {
    const run = lab.begin('dashboard', '--json', ...more);
    begun.push(run);
    const urls: string[] = [];
    run.stdout?.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().split('\n')) if (line !== '') urls.push(JSON.parse(line).url);
    });
    await vi.waitFor(() => expect(urls).toHaveLength(1), patient);
    return { run, urls };
  }

  async function signIn(url = ''): Promise<DashboardClient> {
    const client = new DashboardClient(url);
    expect((await client.signIn()).status).toBe(303);
    return client;
  }

  function listen(client: DashboardClient): DashboardStream {
    const stream = client.stream();
    streams.push(stream);
    return stream;
  }

  const rowOf = (stream: DashboardStream, name: string): MemberView | undefined =>
    stream.find(({ fleets }) => {
      const all = Array.isArray(fleets) ? fleets : Object.values(fleets ?? {});
      return all.flatMap((one) => one?.members ?? []).findLast((row) => row.name === name);
    });

  async function ended(client: DashboardClient, stream: DashboardStream, request: object): Promise<JobView> {
    const { json, status } = await client.post('api/jobs', { fleet, ...request });
    expect(status).toBe(202);
    await vi.waitFor(() => {
      const job = stream.find(({ jobs }) => jobs?.find(({ id }) => id === json.id));
      expect(job?.endedAt).toEqual(expect.any(String));
    }, patient);
    return stream.find(({ jobs }) => jobs?.find(({ id }) => id === json.id)) as JobView;
  }

  it('shows members as they change, and does to them what the commands do', async () => {
    const { run, urls } = await serve();
    const client = await signIn(urls[0]);
    await vi.waitFor(() => expect(urls).toHaveLength(2));
    const stream = listen(client);
    await vi.waitFor(() => expect(rowOf(stream, second)).toMatchObject({ state: 'running', problems: [] }), patient);
    await vi.waitFor(() => expect(rowOf(stream, first)?.hasAgent).toBe(true), patient);
    expect(stream.view).toMatchObject({ about: { uri: 'qemu:///system', store: lab.store }, libvirt: { isConnected: true } });
    await virsh('suspend', second);
    await vi.waitFor(() => expect(rowOf(stream, second)?.state).toBe('paused'), patient);
    await virsh('resume', second);
    await vi.waitFor(() => expect(rowOf(stream, second)?.state).toBe('running'), patient);

    const plan = await client.post('api/plans', { verb: 'reset', fleet, members: [2] });
    expect(plan.json).toMatchObject({
      steps: [{ index: 2, name: second, steps: ['stop', 'overlay', 'seed', 'start'] }],
      loss: { members: 1, running: 1, checkpoints: 0, driftBytes: expect.any(Number) },
      refusal: null,
      command: `cowherd reset ${fleet} 2`,
    });
    const before = rowOf(stream, second)?.startedAt ?? '';
    expect(await ended(client, stream, { verb: 'reset', members: [2] })).toMatchObject({ state: 'done', counts: { reset: 1, started: 1 } });
    await vi.waitFor(() => expect(Date.parse(rowOf(stream, second)?.startedAt ?? '')).toBeGreaterThan(Date.parse(before)), patient);
    await vi.waitFor(
      () =>
        expect(stream.find(({ events }) => events?.find(({ what }) => what === 'progress'))).toMatchObject({ member: second, to: 'done' }),
      patient,
    );

    expect(await ended(client, stream, { verb: 'checkpoint', members: [1] })).toMatchObject({ state: 'done', counts: { checkpointed: 1 } });
    await vi.waitFor(() => expect(rowOf(stream, first)?.checkpointAt).toMatch(/^20/), patient);
    const cold = await client.post('api/plans', { verb: 'reset', fleet, members: [1, 2] });
    expect(cold.json.loss).toMatchObject({ members: 2, checkpoints: 1 });
    const warm = await client.post('api/plans', { verb: 'reset', fleet, members: [1], warm: true });
    expect(warm.json).toMatchObject({ loss: { members: 1, checkpoints: 0 }, command: `cowherd reset ${fleet} 1 --warm` });
    const start = await client.post('api/plans', { verb: 'start', fleet, members: [1] });
    expect(start.json).toMatchObject({ steps: [], unchanged: 1, loss: null });
    run.kill('SIGINT');
    expect((await run).exitCode).toBe(0);
  });

  it('reports failures of members, of whole actions, and of plans', async () => {
    const { run, urls } = await serve();
    const client = await signIn(urls[0]);
    const stream = listen(client);
    await vi.waitFor(() => expect(stream.view).toBeDefined(), patient);
    const lock = lab.path('fleets', `.${fleet}.lock`);
    const holder = execa('flock', ['--no-fork', lock, 'sleep', '60'], { reject: false });
    await vi.waitFor(async () => expect((await execa('flock', ['-n', lock, 'true'], { reject: false })).exitCode).toBe(1));
    expect(await ended(client, stream, { verb: 'stop', members: [1] })).toMatchObject({
      state: 'failed',
      error: { code: 'LOCKED', message: expect.stringContaining(fleet), hint: expect.any(String) },
    });
    holder.kill('SIGKILL');
    await holder;
    await lab.unlocked();
    const warm = { verb: 'reset', members: [2], warm: true };
    expect((await client.post('api/plans', { fleet, ...warm })).json).toMatchObject({ steps: [], refused: [{ name: second }] });
    expect(await ended(client, stream, warm)).toMatchObject({ state: 'failed', failures: [{ index: 2, error: { code: 'REFUSED' } }] });
    const missing = await client.post('api/plans', { verb: 'start', fleet, members: [9] });
    expect(missing.json).toMatchObject({ steps: [], refusal: { code: 'MEMBER_NOT_FOUND' } });
    run.kill('SIGTERM');
    expect((await run).exitCode).toBe(0);
  });

  it('opens consoles and screens, and lets a page take a console over', async () => {
    const { urls, run } = await serve();
    const client = await signIn(urls[0]);
    const console1 = client.socket(`api/fleets/${fleet}/members/1/console`);
    await vi.waitFor(() => expect(console1.isOpen).toBe(true), patient);
    // The shell does not answer before the console is connected.
    await vi.waitFor(
      () => {
        console1.socket.send(Buffer.from('\nhostname\n'));
        expect(console1.text).toMatch(new RegExp(`hostname\r\n${first}\r\n`));
      },
      { timeout: 60_000, interval: 1_000 },
    );
    expect(console1.text).not.toContain('Escape character');
    const busy = client.socket(`api/fleets/${fleet}/members/1/console`);
    await vi.waitFor(() => expect(busy.closed).toEqual({ code: 4001, reason: expect.stringContaining('in use by another user') }), patient);
    const taken = client.socket(`api/fleets/${fleet}/members/1/console?force=1`);
    await vi.waitFor(() => expect(console1.closed?.code).toBe(4000), patient);
    await vi.waitFor(
      () => {
        taken.socket.send(Buffer.from('\nhostname\n'));
        expect(taken.text).toContain(`${first}\r\n`);
      },
      { timeout: 60_000, interval: 1_000 },
    );
    taken.socket.close();
    // Nothing of it is left.
    await vi.waitFor(
      async () => expect((await execa('pgrep', ['-f', `console --domain ${first}`], { reject: false })).stdout).toBe(''),
      patient,
    );

    const screen = client.socket(`api/fleets/${fleet}/members/1/vnc`);
    await vi.waitFor(() => expect(screen.text).toMatch(/^RFB 003\.\d{3}\n$/), patient);
    screen.socket.close();
    const picture = await client.get(`api/fleets/${fleet}/members/1/screenshot`);
    expect(picture).toMatchObject({ status: 200, headers: { 'content-type': expect.stringMatching(/^image\/(png|x-portable-pixmap)$/) } });
    run.kill('SIGINT');
    await run;
  });

  it('shows what a member consists of', async () => {
    const { urls, run } = await serve('--store', lab.store);
    const client = await signIn(urls[0]);
    const { json } = await client.get(`api/fleets/${fleet}/members/1`);
    expect(json).toMatchObject({
      name: first,
      cards: [],
      disks: [
        {
          name: 'root',
          chain: [
            { path: lab.overlay(fleet, first), format: 'qcow2' },
            { path: expect.stringContaining('/bases/'), format: 'qcow2', allocatedBytes: expect.any(Number) },
          ],
        },
      ],
      checkpoint: { bytes: expect.any(Number) },
      xml: expect.stringContaining(`<name>${first}</name>`),
      hasConsole: true,
      graphics: 'vnc',
    });
    const commands = json.commands.map(({ command }: { command: string }) => command);
    expect(commands).toContain(`cowherd console ${first}`);
    const memory = await client.get(`api/fleets/${fleet}/memory`);
    expect(memory.json.members[first]).toEqual({ privateBytes: expect.any(Number), sharedBytes: expect.any(Number) });
    run.kill('SIGINT');
    await run;
  });

  it('keeps the session of a browser when it is started again, and refuses actions when it is read-only', async () => {
    const { run, urls } = await serve();
    const client = await signIn(urls[0]);
    run.kill('SIGINT');
    expect((await run).exitCode).toBe(0);
    const again = await serve('--read-only');
    const port = new URL(again.urls[0] ?? '').port;
    expect(await lab.cowherd('dashboard', '--port', port, '--json')).toMatchObject({ exitCode: 2, json: { error: { code: 'BAD_USAGE' } } });
    const same = Object.assign(new DashboardClient(again.urls[0] ?? ''), { cookie: client.cookie, base: client.base });
    const stream = listen(same);
    await vi.waitFor(() => expect(stream.view).toMatchObject({ about: { isReadOnly: true }, fleets: [{ fleet }] }), patient);
    expect((await same.post('api/jobs', { verb: 'teardown', fleet, members: [1] })).status).toBe(403);
    again.run.kill('SIGINT');
    await again.run;
  });

  it('finishes the current steps of an action at Ctrl-C, and removes a fleet whose members are all chosen', async () => {
    const { run, urls } = await serve();
    const client = await signIn(urls[0]);
    await client.post('api/jobs', { verb: 'reset', fleet, members: [1, 2] });
    run.kill('SIGINT');
    expect((await run).exitCode).toBe(0);
    const again = await serve();
    const same = Object.assign(new DashboardClient(again.urls[0] ?? ''), { cookie: client.cookie, base: client.base });
    const stream = listen(same);
    await vi.waitFor(() => expect(rowOf(stream, first)).toBeDefined(), patient);
    const plan = await same.post('api/plans', { verb: 'teardown', fleet, members: [1, 2] });
    expect(plan.json).toMatchObject({ command: `cowherd teardown ${fleet}`, loss: { members: 2 } });
    expect(await ended(same, stream, { verb: 'teardown', members: [1, 2] })).toMatchObject({ state: 'done', counts: { removed: 2 } });
    await vi.waitFor(() => expect(stream.find(({ fleets }) => (Array.isArray(fleets) ? undefined : fleets?.[fleet]))).toBeNull(), patient);
    again.run.kill('SIGINT');
    await again.run;
  });
});
