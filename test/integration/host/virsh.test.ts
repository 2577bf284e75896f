import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { Virsh } from '../../../src/adapters/libvirt/virsh.js';

describe('a virsh that misbehaves', () => {
  const running = 'error: Domain is already active';
  const fakes = fileURLToPath(new URL('../../fakes', import.meta.url));
  const path = process.env.PATH;
  afterEach(() => {
    process.env.PATH = path;
    delete process.env.FAKE_VIRSH;
    delete process.env.FAKE_SCRIPT;
  });
  /** @param timeoutMs short only for a virsh that hangs: on a busy machine, the fake alone takes a while to start */
  const open = (behaviour: string, timeoutMs = 30_000): Virsh => {
    process.env.PATH = `${fakes}:${path}`;
    process.env.FAKE_VIRSH = behaviour;
    const times = { timeoutMs, lookAfterLossMs: 1, leastHeldMs: timeoutMs };
    return new Virsh({ uri: 'qemu:///system', sessions: 1, ...times, inherit: () => [], inheritance: () => 0 });
  };

  it('that hangs is killed, and the error names the call', async () => {
    const virsh = open('hang', 500);
    await expect(virsh.start('cwt-x-001')).rejects.toMatchObject({
      code: 'TOOL_TIMEOUT',
      message: expect.stringContaining("start 'cwt-x-001'"),
    });
    await virsh.close();
  });

  it('gets more time to write or read memory', async () => {
    const virsh = open('hang', 500);
    const calls = [virsh.saveManaged('x', 15_000_000), virsh.start('x', 15_000_000), virsh.restorePaused('x', '/y', 15_000_000)];
    for (const call of calls) await expect(call).rejects.toMatchObject({ message: expect.stringContaining('within 2 s') });
    await virsh.close();
  });

  it('that dies is retried once, then reported', async () => {
    const virsh = open('die');
    await expect(virsh.start('cwt-x-001')).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringContaining('out of sorts'),
    });
    await virsh.close();
  });

  const state = (code: number, reason: number): string => `Domain: 'cwt-x-001'\n  state.state=${code}\n  state.reason=${reason}\n`;
  const [booted, startingUp, crashed] = [state(1, 1), state(3, 11), state(5, 3)];
  const busy = 'error: Timed out during operation: cannot acquire state change lock';
  /** @returns how often virsh was called */
  const play = async (script: string[], act: (virsh: Virsh) => Promise<unknown>): Promise<number> => {
    const scratch = await mkdtemp(join(tmpdir(), 'cwt-script-'));
    process.env.FAKE_COUNT = join(scratch, 'count');
    process.env.FAKE_SCRIPT = JSON.stringify(script);
    const virsh = open('');
    await act(virsh);
    const { size } = await stat(process.env.FAKE_COUNT);
    await virsh.close();
    await rm(scratch, { recursive: true });
    return size;
  };

  it.each([
    ['ends it after a while', ['die', running, ...Array(20).fill(startingUp), crashed, 'started', booted], 25],
    ['lets it go on', ['die', running, startingUp, ...Array(6).fill(booted)], 8],
    ['never finishes it: it is ended, then started', ['die', running, ...Array(61).fill(startingUp), 'destroyed', 'started'], 65],
  ])('whose daemon ends during a start: it is polled until the daemon %s', async (_what, script, calls) => {
    expect(await play(script, (virsh) => virsh.start('cwt-x-001'))).toBe(calls);
  });

  it('while another client starts the domain: that start is awaited', async () => {
    expect(await play([running, startingUp, startingUp, booted], (virsh) => virsh.start('cwt-x-001'))).toBe(4);
  });

  it.each([
    ['start', [running, ...Array(61).fill(startingUp), busy, startingUp]],
    ['destroy', [busy, startingUp]],
  ] as const)('and can never end a start (%s): it is said how to end that, without waiting for the lock again', async (verb, script) => {
    const calls = await play([...script], async (virsh) => {
      await expect(virsh[verb]('cwt-x-001')).rejects.toMatchObject({
        code: 'TOOL_FAILED',
        details: [expect.stringContaining('/run/libvirt/qemu/cwt-x-001.xml'), expect.anything()],
        hint: expect.stringContaining('pgrep -f guest=cwt-x-001,'),
      });
    });
    expect(calls).toBe(script.length);
  });

  it('whose list lacks a domain that is being created is queried again, with a pause between', async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'cwt-script-'));
    const uuid = '7a4bd8b1-6f0e-4d37-9f6f-2c7f2f4b6a01';
    const states = "Domain: 'cwt-x-001'\n  state.state=1\n  state.reason=1\n";
    process.env.FAKE_COUNT = join(scratch, 'count');
    process.env.FAKE_SCRIPT = JSON.stringify([...Array(4).fill(['', states]).flat(), `${uuid} cwt-x-001`, states]);
    const virsh = open('');
    const began = performance.now();
    expect(await virsh.listDomains()).toEqual([{ uuid, name: 'cwt-x-001', state: 'running', reason: 'booted' }]);
    // Five immediate queries would all see the same.
    expect(performance.now() - began).toBeGreaterThan(900);
    await virsh.close();
    await rm(scratch, { recursive: true });
  });

  it('that prints warnings is parsed correctly', async () => {
    const virsh = open('warn');
    expect(await virsh.readXml(['cwt-x-001'])).toEqual(new Map([['cwt-x-001', '<domain/>\n']]));
    await virsh.close();
  });

  it('that is missing is reported with its package', async () => {
    process.env.PATH = '/nonexistent';
    const virsh = new Virsh({ uri: 'qemu:///system', sessions: 1, timeoutMs: 500, inherit: () => [], inheritance: () => 0 });
    await expect(virsh.start('x')).rejects.toMatchObject({ code: 'TOOL_MISSING', hint: expect.stringContaining('libvirt-clients') });
    await virsh.close();
  });
});
