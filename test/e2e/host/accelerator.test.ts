import { existsSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, bin, guest, Lab, virsh } from '../../support/lab.js';

const fake = (name: string) => fileURLToPath(new URL(`../../fakes/${name}`, import.meta.url));

/** The message of QEMU 7.2 if a nested KVM rejects a feature that it offered. Affected hosts print it themselves. */
const msr = `Failed to start domain
internal error: qemu unexpectedly closed the monitor: 2026-11-25T15:43:39.344946Z qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69
qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion \`ret == cpu->kvm_msr_buf->nmsrs' failed.`;

/**
 * Works with any KVM. The probes are real. A failed start after successful probes is simulated: the stored answer says that KVM works,
 * and the first start is refused as QEMU would refuse it.
 */
// Without the device there is nothing to probe, and members are emulated.
describe.skipIf(!existsSync('/dev/kvm'))('the accelerator', () => {
  let lab: Lab;
  let fleet: string;
  beforeAll(async () => {
    lab = await Lab.open({ isProbed: false });
    fleet = lab.fleet('accel');
    await lab.ok('base', 'add', await lab.golden('golden.qcow2'));
  });
  afterAll(() => lab.close());

  const remembered = async () => JSON.parse(await readFile(lab.path('accelerator.json'), 'utf8'));
  const record = async () => JSON.parse(await readFile(lab.path('fleets', fleet, 'fleet.json'), 'utf8'));

  /** The state after probes that succeeded by luck. @param isAlone whether all other choices with KVM were rejected before; then nothing is probed */
  async function believeInKvm({ isAlone = true } = {}): Promise<void> {
    const known = await remembered();
    const since = new Date().toISOString();
    const answer = { choice: { virtType: 'kvm', cpu: 'host-model' }, why: '3 of 3 probe guests reached long mode', rejected: [], since };
    const refuted = isAlone ? [{ virtType: 'kvm', cpu: 'x86-64-v2', why: 'another member did not start' }] : [];
    const entries = known.entries.map((entry: object) => ({ ...entry, since, answer, refuted }));
    await writeFile(lab.path('accelerator.json'), JSON.stringify({ ...known, entries }));
  }

  let runs = 0;
  /** Runs cowherd with the first start refused. @param kill variables of test/fakes/kill-at.mjs without their prefix */
  async function withFirstStartRefused(kill: Record<string, string>, ...args: string[]): Promise<Answer & { signal: string | undefined }> {
    const env = {
      ...lab.env,
      PATH: `${dirname(fake('virsh'))}:${process.env.PATH}`,
      FAKE_VIRSH: JSON.stringify({ match: '^start ', nth: 1, do: 'error', text: msr, count: join(lab.scratch, `starts-${++runs}`) }),
      ...Object.fromEntries(Object.entries(kill).map(([name, value]) => [`CWT_${name}`, value])),
    };
    const run = await execa(process.execPath, ['--import', fake('kill-at.mjs'), bin, ...args, '--json'], { env, reject: false });
    await lab.unlocked();
    const { exitCode = -1, stdout, stderr, signal } = run;
    return { exitCode, stdout, stderr, signal, json: stdout === '' ? undefined : JSON.parse(stdout) };
  }

  /** Accelerator, CPU and state of the members' domains. */
  async function members(): Promise<Array<{ type: string; mode: string; state: string }>> {
    const names = (await readdir(lab.path('fleets', fleet, 'overlays'))).map((file) => file.replace('.qcow2', '')).sort();
    return Promise.all(
      names.map(async (name) => {
        const xml = await virsh('dumpxml', '--inactive', name);
        const [, type = ''] = /<domain type='(\w+)'/.exec(xml) ?? [];
        const [, mode = ''] = /<cpu mode='([\w-]+)'/.exec(xml) ?? [];
        return { type, mode, state: (await virsh('domstate', name)).trim() };
      }),
    );
  }

  /** All members are alike, match the record, and do not use the failed choice. */
  async function expectFallenBack(...states: string[]): Promise<void> {
    const found = await members();
    expect(found.map(({ state }) => state)).toEqual(states);
    const { virtType, cpu } = (await record()).accelerator;
    expect(cpu).not.toBe('host-model');
    for (const { type, mode } of found) expect([type, mode]).toEqual([virtType, 'custom']);
    expect((await remembered()).entries[0].refuted.at(-1)).toEqual({
      virtType: 'kvm',
      cpu: 'host-model',
      why: expect.stringMatching(/ did not start: failed to set MSR 0x10a/),
    });
  }

  const note = expect.stringMatching(
    /-00\d did not start under KVM with CPU host-model \(failed to set MSR 0x10a to 0x69\): the cached probe result was dropped and all members were redefined for (KVM with CPU x86-64-v2|emulation)$/,
  );
  const spawning = (...more: string[]) => ['spawn', fleet, '--base', 'golden', '--count', '2', ...guest, ...more];

  it('is determined by real guests, cached, and shown by doctor', async () => {
    const told = async (...flags: string[]) =>
      (await lab.ok('doctor', ...flags)).checks.find(({ name }: { name: string }) => name === 'accelerator');
    // An answer of cowherd 0.1.0, or a damaged one, is ignored.
    await writeFile(lab.path('accelerator.json'), '{"key":"qemu:///system","virtType":"kvm","why":"a probe guest ran with KVM"}');
    const { message, hint = '' } = await told();
    expect(message).toMatch(
      /^(KVM with CPU (host-model|x86-64-v2) \(3 of 3 probe guests reached long mode|emulation \(not KVM with CPU host-model: .+; not KVM with CPU x86-64-v2: .+)/,
    );
    expect(message).toMatch(/known since \d{4}-\d\d-\d\dT/);
    expect(hint === '' || hint.includes('doctor --fresh')).toBe(true);
    expect((await told()).message).toBe(message);
    expect(await readdir(lab.path('probes'))).toEqual([]);
    // So is an answer for another kernel, QEMU or CPU, or an old one.
    const known = await remembered();
    const [entry] = known.entries;
    const entries = [
      { ...entry, since: '2020-01-01T00:00:00.000Z' },
      { ...entry, key: 'another host' },
    ];
    await writeFile(lab.path('accelerator.json'), JSON.stringify({ ...known, entries }));
    const later = (await told()).message;
    expect(later.split('known since ')[1]).not.toBe(message.split('known since ')[1]);
    expect((await told('--fresh')).message.split('known since ')[1]).not.toBe(later.split('known since ')[1]);
    expect((await remembered()).entries.map(({ key }: { key: string }) => key)).toEqual([entry.key, 'another host']);
  });

  it('is replaced by spawn, start and reset if a member does not start with it, for all members', async () => {
    await believeInKvm({ isAlone: false });
    const spawned = await withFirstStartRefused({}, ...spawning());
    expect(spawned.exitCode, spawned.stdout + spawned.stderr).toBe(0);
    expect(spawned.json.counts).toEqual({ created: 2, unchanged: 0, started: expect.any(Number), failed: 0 });
    expect(spawned.json.notes).toContainEqual(note);
    await expectFallenBack('running', 'running');
    // Converged: nothing is chosen or redefined again.
    expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ unchanged: 2 });

    for (const [verb, counts, states] of [
      ['start', { started: 1, failed: 0 }, ['running', 'shut off']],
      ['reset', { reset: 1, failed: 0 }, ['running', 'shut off']],
    ] as const) {
      await lab.ok('stop', fleet, '--force', '--timeout', '100ms');
      await believeInKvm();
      await lab.ok('spawn', fleet, '--virt-type', 'auto', '--no-start');
      expect(await members()).toEqual(Array(2).fill({ type: 'kvm', mode: 'host-model', state: 'shut off' }));
      const { exitCode, json, stdout, stderr } = await withFirstStartRefused(
        {},
        verb,
        fleet,
        '1',
        ...(verb === 'reset' ? ['--start', 'all'] : []),
      );
      expect(exitCode, stdout + stderr).toBe(0);
      expect(json.counts).toMatchObject(counts);
      expect(json.members.map(({ outcome, state }: { outcome: string; state: string }) => [outcome, state])).toEqual([
        [verb === 'reset' ? 'reset' : 'started', 'running'],
      ]);
      expect(json.notes).toContainEqual(note);
      await expectFallenBack(...states);
    }
    await lab.ok('teardown', fleet, '--yes');
  });

  it('is the same for all members after a kill during the change', async () => {
    // Before the new choice is recorded, and while members are redefined.
    for (const kill of [
      { KILL_ON: 'rename .*/operation\\.json$', KILL_AT: '2' },
      { KILL_ON: 'virsh define', KILL_AT: '4' },
    ]) {
      await believeInKvm();
      const { signal, stdout, stderr } = await withFirstStartRefused(kill, ...spawning());
      expect(signal, `${JSON.stringify(kill)} ${stdout} ${stderr}`).toBe('SIGKILL');
      expect((await lab.ok('resume', fleet)).counts.failed).toBe(0);
      // KVM may work on this host, and then the first choice works too.
      const { virtType, cpu } = (await record()).accelerator;
      const mode = cpu === 'host-model' ? cpu : 'custom';
      expect(await members(), JSON.stringify(kill)).toEqual(Array(2).fill({ type: virtType, mode, state: 'running' }));
      await lab.ok('teardown', fleet, '--yes');
    }
  });

  it('is never replaced if it was given explicitly, nor is a CPU', async () => {
    const { exitCode, json, stdout } = await withFirstStartRefused({}, ...spawning('--virt-type', 'kvm'));
    const error = json.error ?? json.members.find((member: { error?: object }) => member.error !== undefined).error;
    expect([error.code, error.hint], stdout).toEqual(['ACCELERATOR_FAILED', expect.stringContaining('--virt-type auto')]);
    expect(exitCode).toBe(json.error === undefined ? 4 : 8);
    if (json.error === undefined) {
      expect((await members()).map(({ type }) => type)).toEqual(['kvm', 'kvm']);
      expect((await record()).accelerator).toBeUndefined();
      await lab.ok('teardown', fleet, '--yes');
    }
    const refused = async (code: string, ...flags: string[]) => {
      const answer = await lab.answer(...spawning('--virt-type', 'qemu', ...flags));
      expect([answer.exitCode, answer.json.error.code, answer.json.error.hint]).toEqual([2, code, expect.stringMatching(/./)]);
      return answer.json.error;
    };
    expect((await refused('NOT_SUPPORTED', '--cpu', 'host-passthrough')).hint).toContain('--cpu max');
    expect((await refused('NOT_SUPPORTED', '--cpu', 'Nosuch')).message).toBe('libvirt knows no CPU model Nosuch for emulated guests');
    await refused('BAD_USAGE', '--cpu', 'a"/><b');
    expect(await readdir(lab.path('fleets'))).not.toContain(fleet);
  });

  it('runs emulated guests with the requested CPU, and reports what QEMU refuses', async () => {
    const emulated = (...flags: string[]) => spawning('--virt-type', 'qemu', ...flags);
    await lab.ok(...emulated('--cpu', 'x86-64-v2'));
    expect(await virsh('dumpxml', `${fleet}-001`)).toMatch(/<model fallback='forbid'>kvm64<\/model>/);
    expect((await lab.ok('template', 'render', fleet, '--cpu', 'max')).xml).toContain('<cpu mode="maximum"/>');
    // Another CPU needs another definition; running members keep theirs until their next start.
    expect((await lab.ok('spawn', fleet, '--cpu', 'max')).counts).toMatchObject({ redefined: 2, failed: 0 });
    await lab.ok('teardown', fleet, '--yes');

    const template = join(lab.scratch, 'own.hbs');
    await lab.ok('template', 'eject', template);
    const own = (await readFile(template, 'utf8')).replace(
      '{{{cpu}}}\n  {{/if}}',
      '{{/if}}\n  <cpu mode="custom" match="exact"><model>qemu64</model><feature policy="require" name="nosuch"/></cpu>',
    );
    await writeFile(template, own);
    const unused = await lab.answer(...emulated('--template', template, '--cpu', 'max'));
    expect([unused.json.error.code, unused.json.error.details]).toEqual(['BAD_TEMPLATE', [expect.stringContaining('leave --cpu out')]]);
    // The refusal by libvirt is real; emulation is the last resort, and the attempt is not repeated forever.
    const { exitCode, json } = await lab.answer(...spawning('--template', template));
    expect(exitCode).toBe(4);
    expect(json.members[0].error).toMatchObject({
      code: 'ACCELERATOR_FAILED',
      message: expect.stringContaining('unknown CPU feature: nosuch'),
    });
    await rm(template);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('leaves nothing unfinished if there is no other choice', async () => {
    // A CPU that exists only with KVM.
    const known = await remembered();
    const entry = known.entries.find(({ key }: { key: string }) => /cpu mode default .* template [0-9a-f]{12}$/.test(key));
    const since = new Date().toISOString();
    const answer = {
      choice: { virtType: 'kvm', cpu: 'host-passthrough' },
      why: '3 of 3 probe guests reached long mode',
      rejected: [],
      since,
    };
    const asked = { ...entry, key: entry.key.replace('cpu mode default', 'cpu mode host-passthrough'), since, answer, refuted: [] };
    await writeFile(lab.path('accelerator.json'), JSON.stringify({ ...known, entries: [asked, ...known.entries] }));
    const { exitCode, json, stdout } = await withFirstStartRefused({}, ...spawning('--cpu', 'host-passthrough', '--boot-concurrency', '1'));
    // If libvirt offers no KVM, nothing begins.
    const isOffered = await virsh('domcapabilities', '--virttype', 'kvm').then(Boolean, () => false);
    expect(json.error === undefined, stdout).toBe(isOffered);
    expect(json.error === undefined ? [0, 4] : [2, 8], stdout).toContain(exitCode);
    if (json.error !== undefined) return;
    expect(json.counts.cancelled).toBeUndefined();
    expect(await readdir(lab.path('fleets', fleet))).not.toContain('operation.json');
    expect((await remembered()).entries[0].refuted).toEqual([expect.objectContaining({ virtType: 'kvm', cpu: 'host-passthrough' })]);
    await lab.ok('teardown', fleet, '--yes');
  });
});
