import { describe, expect, it } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import type { Host } from '../../../src/host.js';
import { DashboardServer, resetRequest, soon } from '../../support/dashboard-server.js';

const { fake, open, signedIn } = DashboardServer.use();
const request = resetRequest;

describe('the stream', () => {
  it('begins with the state, and replays what a page has missed', async () => {
    const client = await signedIn({ open: () => Promise.reject(new CowherdError('LOCKED', 'Fleet lab is locked')) });
    const first = client.stream();
    await soon(() => expect(first.view).toMatchObject({ about: { user: 'tester', isReadOnly: false }, fleets: [], jobs: [] }));
    expect(await client.post('api/jobs', request)).toMatchObject({ status: 202, json: { state: 'running', request } });
    await soon(() => expect(first.find(({ jobs }) => jobs?.[0])).toMatchObject({ state: 'failed', error: { code: 'LOCKED' } }));
    const again = client.stream(first.view === undefined ? '' : first.lastId.replace(/\d+$/, '0'));
    await soon(() => expect(again.changes).toEqual(first.changes));
    expect(again.view).toBeUndefined();
    const unknown = client.stream('0123456789ab-1');
    await soon(() => expect(unknown.view?.jobs).toMatchObject([{ state: 'failed' }]));
    for (const stream of [first, again, unknown]) stream.close();
  });

  it('is for a bounded number of pages', async () => {
    const client = await signedIn();
    const streams = Array.from({ length: 16 }, () => client.stream());
    await soon(() => expect(streams.every(({ view }) => view !== undefined)).toBe(true));
    expect((await client.get('api/stream')).status).toBe(503);
    streams[0]?.close();
    await soon(async () => {
      const another = client.stream();
      await soon(() => expect(another.status).not.toBe(0));
      another.close();
      expect(another.status).toBe(200);
    });
    for (const stream of streams) stream.close();
  });
});

describe('actions', () => {
  /** Ends when it is cancelled. */
  const hanging = ({ signal }: { signal?: AbortSignal | undefined }): Promise<Host> =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new CowherdError('INTERRUPTED', 'Interrupted'))));

  it('are bounded, can be cancelled, and end with the server', async () => {
    const client = await signedIn({ open: hanging });
    const stream = client.stream();
    await soon(() => expect(stream.view).toBeDefined());
    const ids: string[] = [];
    for (let count = 0; count < 8; count++) ids.push((await client.post('api/jobs', request)).json.id);
    expect(await client.post('api/jobs', request)).toMatchObject({ status: 429, json: { error: { code: 'TOO_MANY_JOBS' } } });
    expect((await client.post(`api/jobs/${ids[0]}/cancel`, {})).status).toBe(204);
    await soon(() => expect(stream.find(({ jobs }) => jobs?.find(({ id }) => id === ids[0]))).toMatchObject({ state: 'interrupted' }));
    expect((await client.post('api/jobs/unknown/cancel', {})).status).toBe(404);
    expect(open[0]?.running).toBe(7);
    await open[0]?.close();
    expect(open[0]?.running).toBe(0);
    stream.close();
  });

  it('are kept for a while after their end', async () => {
    const client = await signedIn({ open: () => Promise.reject(new CowherdError('LOCKED', 'Fleet lab is locked')) });
    for (let count = 0; count < 25; count++) {
      await client.post('api/jobs', request);
      await soon(() => expect(open[0]?.running).toBe(0));
    }
    const stream = client.stream();
    await soon(() => expect(stream.view?.jobs).toHaveLength(20));
    stream.close();
  });

  it('are refused in read-only mode', async () => {
    const client = await signedIn({ isReadOnly: true });
    for (const path of ['api/plans', 'api/jobs', 'api/jobs/x/cancel']) {
      expect(await client.post(path, request), path).toMatchObject({ status: 403, json: { error: { code: 'READ_ONLY' } } });
    }
    for (const path of ['console?force=1', 'vnc']) {
      const socket = client.socket(`api/fleets/lab/members/1/${path}`);
      await soon(() => expect(socket.refused, path).toBe(403));
    }
    const socket = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(1));
    socket.socket.send(Buffer.from('typed'));
    fake.consoles[0]?.output.write('Escape character is ^]\r\nshown');
    await soon(() => expect(socket.text).toBe('shown'));
    expect(fake.consoles[0]?.input.read()).toBeNull();
    socket.socket.close();
  });
});

describe('a console', () => {
  it('passes bytes on, without the escape character and without the words of virsh', async () => {
    const client = await signedIn();
    const busy = client.socket('api/fleets/lab/members/2/console?force=1');
    const shown = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(2));
    const [console1, console2] = [...fake.consoles].sort((a, b) => a.domain.localeCompare(b.domain));
    expect([console1?.domain, console1?.force, console2?.domain, console2?.force]).toEqual(['lab-001', false, 'lab-002', true]);
    console1?.output.write("Connected to domain 'lab-001'\r\nEscape char");
    console1?.output.write('acter is ^] (Ctrl + ])\r\n\u001b[1mlogin:\u00ff');
    await soon(() => expect(shown.text).toContain('login:'));
    expect(shown.text).toBe(Buffer.from('\u001b[1mlogin:\u00ff').toString('latin1'));
    shown.socket.send(Buffer.from([0x72, 0x1d, 0x00, 0xff]));
    await soon(() => expect(console1?.input.read()).toEqual(Buffer.from([0x72, 0x00, 0xff])));
    shown.socket.close();
    await soon(() => expect(console1?.isClosed).toBe(true));
    console2?.output.write('Escape character is ^]\r\nerror: operation failed: Active console session exists for this domain\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    console2?.end();
    await soon(() => expect(busy.closed).toEqual({ code: 4001, reason: expect.stringContaining('in use by another user') }));
  });

  it('says why it was not opened', async () => {
    const client = await signedIn();
    const socket = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(fake.consoles).toHaveLength(1));
    fake.consoles[0]?.output.write('error: failed to get domain\u001b[2J\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    fake.consoles[0]?.end();
    await soon(() =>
      expect(socket.closed).toEqual({
        code: 4000,
        reason: expect.stringMatching(/^The console could not be opened: failed to get domain\?/),
      }),
    );
    const missing = client.socket('api/fleets/lab/members/9/console');
    await soon(() => expect(missing.closed).toEqual({ code: 4000, reason: 'Fleet lab has no member 9' }));
    const screen = client.socket('api/fleets/lab/members/1/vnc');
    await soon(() => expect(screen.closed?.reason).toBe('lab-001 has no VNC screen'));
  });

  it('makes the guest wait for a page that does not read, and holds no more than a few megabytes', async () => {
    const client = await signedIn();
    const page = client.socket('api/fleets/lab/members/1/console');
    const { socket } = page;
    await soon(() => expect([page.isOpen, fake.consoles.length]).toEqual([true, 1]));
    // A socket that is not open yet ignores this.
    socket.pause();
    const { output } = fake.consoles[0] ?? { output: undefined };
    output?.write('Escape character is ^]\r\n');
    let isFull = false;
    for (let count = 0; count < 4096 && !isFull; count++) {
      output?.write(Buffer.alloc(64 * 1024));
      await new Promise((resolve) => setImmediate(resolve));
      isFull = output?.isPaused() === true;
    }
    expect(isFull).toBe(true);
    socket.resume();
    await soon(() => expect(output?.isPaused()).toBe(false));
    socket.terminate();
    await soon(() => expect(fake.consoles[0]?.isClosed).toBe(true));
  });

  it('is one of a bounded number', async () => {
    const client = await signedIn();
    const sockets = Array.from({ length: 16 }, () => client.socket('api/fleets/lab/members/1/console'));
    await soon(() => expect(sockets.every(({ isOpen }) => isOpen)).toBe(true));
    const another = client.socket('api/fleets/lab/members/1/console');
    await soon(() => expect(another.refused).toBe(503));
    for (const { socket } of sockets) socket.close();
  });
});
