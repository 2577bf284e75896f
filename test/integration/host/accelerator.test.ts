import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBuiltInTemplate } from '../../../src/adapters/host/templates.js';
import { AgentSockets } from '../../../src/adapters/libvirt/agent-sockets.js';
import { virshError } from '../../../src/adapters/libvirt/session/virsh-errors.js';
import { LongModeProbe } from '../../../src/adapters/qemu/accelerator.js';
import { QemuImg } from '../../../src/adapters/qemu/qemu-img.js';
import { memberMetadata } from '../../../src/core/domain/domain-xml.js';
import { compileDomainTemplate } from '../../../src/core/domain/template.js';
import { CowherdError } from '../../../src/core/errors.js';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import { questionOf, rememberedMs } from '../../../src/core/host/accelerator.js';
import { faultText } from '../../../src/core/host/accelerator-faults.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';
import { chooseAgain } from '../../../src/services/host/accelerator.js';
import { checkAccelerator } from '../../../src/services/preflight/host-checks.js';
import { FakeHost } from '../../fakes/hypervisor.js';

const question = questionOf(defaultDomainSpec);
const hostModel = { virtType: 'kvm', cpu: 'host-model' } as const;
const baseline = { virtType: 'kvm', cpu: 'x86-64-v2' } as const;
const emulation = { virtType: 'qemu' } as const;
const msr = virshError(
  'create x',
  'Failed to create domain\ninternal error: qemu unexpectedly closed the monitor: 2026-11-25T15:43:39.344946Z qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69',
);
const noModule = virshError('create x', 'internal error: process exited: Could not access KVM kernel module: Permission denied');

/** The files and qemu-img are real; the host is simulated, since its KVM must fail in specific ways. */
describe('the choice of an accelerator', () => {
  let root: string;
  let host: FakeHost;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'cwt-accel-'));
    host = new FakeHost();
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const probeIn = (store: string) => {
    const { hypervisor, clock } = host;
    return new LongModeProbe(store, { hypervisor, clock, images: new QemuImg(() => []), agentSockets: new AgentSockets(true) });
  };
  const choose = (options = {}) => probeIn(root).choose(question, options);

  it('probes three times with the definition of members, and leaves nothing behind', async () => {
    expect(await choose()).toMatchObject({ choice: hostModel, why: '3 of 3 probe guests reached long mode', rejected: [] });
    expect(host.started.map((xml) => /<domain type="(\w+)"/.exec(xml)?.[1])).toEqual(['qemu', 'kvm', 'kvm', 'kvm']);
    expect(await readdir(join(root, 'probes'))).toEqual([]);

    const xml = host.started.at(-1) ?? '';
    const word = (pattern: RegExp): string => pattern.exec(xml)?.[1] ?? '';
    const member = memberIdentity('lab', '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33', 1);
    const base = { name: 'golden', digest: 'ab'.repeat(32), format: 'raw' as const };
    const record = {
      ...{ version: 1 as const, id: '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33', name: 'lab', base: { name: base.name, digest: base.digest } },
      ...{ createdAt: '2026-01-01T00:00:00.000Z', freshOverlayBytes: 0, members: [member] },
      spec: { ...defaultDomainSpec, memoryMiB: 16, network: 'none' },
    };
    const image = { ...base, path: word(/<backingStore[^>]*><format type="raw"\/><source file="([^"]+)"/), backing: [] };
    const files = {
      overlay: word(/<source file="([^"]+)"/),
      consoleLog: word(/<log file="([^"]+)"/),
      disk: () => '',
      nvram: '',
      seed: '',
      agentSocket: undefined,
    };
    const platform = { ...(await host.hypervisor.platform('kvm')), cpu: 'host-model' };
    const rendered = compileDomainTemplate(
      await readBuiltInTemplate('domain'),
      'built-in',
      () => image as never,
      platform,
    )(record, member, files);
    const named = rendered.replace(memberMetadata(record, member), '').replaceAll(member.name, word(/<name>([^<]+)/));
    expect(xml).toBe(named.replace(member.uuid, word(/<uuid>([^<]+)/)));
    expect(xml).toContain('<cpu mode="host-model"/>');
    expect(xml).toContain('cpu-unavailable-features');
  });

  it('rejects KVM that fails one time in three, is slower than emulation, or ends too early', async () => {
    for (const [fate, why] of [
      [{ ms: 10_000 }, 'it did not finish within 0.7 s, about as long as emulation takes'],
      [{ ms: 100, isSilent: true }, 'it ended before it reached long mode'],
      [msr, 'failed to set MSR 0x10a to 0x69'],
    ] as const) {
      host.fate = ({ mode, nth }) => (mode === 'host-model' && nth % 3 === 0 ? fate : { ms: 200 });
      expect(await choose({ fresh: true })).toMatchObject({
        choice: baseline,
        rejected: [{ ...hostModel, why: `probe guest 3 of 3: ${why}` }],
      });
      host.started.length = 0;
    }
    host.fate = ({ virtType }) => (virtType === 'kvm' ? msr : { ms: 200 });
    expect((await choose({ fresh: true })).choice).toEqual(emulation);
  });

  it('tries no other CPU if KVM itself is unusable', async () => {
    host.fate = ({ virtType }) => (virtType === 'kvm' ? noModule : { ms: 200 });
    const why = 'probe guest 1 of 3: process exited: Could not access KVM kernel module: Permission denied';
    expect(await choose()).toMatchObject({
      choice: emulation,
      rejected: [
        { ...hostModel, why },
        { ...baseline, why },
      ],
    });
    expect(host.started).toHaveLength(2);
    host.hasKvm = false;
    expect(await choose()).toMatchObject({ choice: emulation, rejected: [{ why: 'libvirt offers no KVM: KVM is not supported' }] });
    expect(host.started).toHaveLength(2);
  });

  it('draws no conclusion about KVM from a host that runs no guest at all, and caches nothing', async () => {
    const full = new CowherdError('TOOL_FAILED', 'libvirt could not create x: cannot write data: No space left on device');
    const closed = new CowherdError('TOOL_FAILED', "libvirt could not create x: Could not open '/s/probe.raw': Permission denied");
    for (const [fault, of] of [
      [full, () => true],
      [closed, () => true],
      // It was full temporarily.
      [full, ({ virtType }: { virtType: string }) => virtType === 'kvm'],
    ] as const) {
      host.fate = (one) => (of(one) ? fault : { ms: 200 });
      const answer = await choose();
      expect(answer).toMatchObject({ choice: emulation, unproven: expect.stringContaining(faultText(fault.message)) });
      const check = await checkAccelerator({ accelerator: probeIn(root) }, false);
      expect(check).toMatchObject({ status: 'failed', message: expect.stringContaining('could not check KVM') });
      // After that is fixed, following the hint finds the result.
      host.fate = () => ({ ms: 200 });
      expect(check.hint).toMatch(/cowherd doctor$/);
      expect(await checkAccelerator({ accelerator: probeIn(root) }, false)).toMatchObject({ status: 'ok' });
      await rm(join(root, 'accelerator.json'));
      host.now += rememberedMs + 1;
    }
  });

  it('is cached for a day, for one host and one question', async () => {
    const { since } = await choose();
    const probed = () => host.started.splice(0).length > 0;
    expect(probed()).toBe(true);
    expect((await choose()).since).toBe(since);
    expect(probed()).toBe(false);
    for (const other of [{ lean: false }, { firmware: 'uefi' as const }, { cpu: 'max' }]) {
      await probeIn(root).choose({ ...question, ...other });
      expect(probed(), JSON.stringify(other)).toBe(true);
    }
    await probeIn(root).choose({ ...question, firmware: 'uefi' });
    await choose();
    expect(probed()).toBe(false);
    host.qemu = 'QEMU 8.0.0';
    await choose();
    expect(probed()).toBe(true);
    host.now += rememberedMs + 1;
    await choose();
    expect(probed()).toBe(true);
  });

  it('counts for templates of fleets too, until a member with one does not start', async () => {
    const own = { ...question, template: 'ab'.repeat(32) };
    const other = { ...question, template: 'cd'.repeat(32) };
    const probed = () => host.started.splice(0).length > 0;
    const { choice } = await choose();
    expect(probed()).toBe(true);
    expect((await probeIn(root).choose(own)).choice).toEqual(choice);
    expect(probed()).toBe(false);
    await probeIn(root).refute(own, hostModel, 'lab-001 did not start');
    expect((await probeIn(root).choose(own)).choice).toEqual(baseline);
    expect(probed()).toBe(true);
    for (const unaffected of [question, other]) expect((await probeIn(root).choose(unaffected)).choice).toEqual(hostModel);
    expect(probed()).toBe(false);
    // A result that a failed start of the built-in template is part of does not count for others.
    await probeIn(root).refute(question, hostModel, 'lab-001 did not start');
    expect((await choose()).choice).toEqual(baseline);
    expect(probed()).toBe(true);
    expect((await probeIn(root).choose(other)).choice).toEqual(hostModel);
    expect(probed()).toBe(true);
  });

  it.each([true, false])(
    'is not the same again after a member did not start so, whether the store can be written to (%s)',
    async (canWrite) => {
      const store = canWrite ? root : '/dev/null/store';
      const ports = { hypervisor: host.hypervisor, accelerator: probeIn(store) };
      if (!canWrite) {
        // Nothing can be probed there, so the answer comes from a run that could.
        expect(await ports.accelerator.choose(question)).toMatchObject({
          choice: emulation,
          rejected: [{ why: expect.stringContaining('could not create a probe guest') }, {}],
        });
      }
      const spec = { ...defaultDomainSpec };
      const failed = { name: 'lab-001', text: msr.message };
      const first = await chooseAgain(ports, { spec }, hostModel, failed, {});
      expect(first?.choice).toEqual(canWrite ? baseline : emulation);
      expect(first?.note).toContain('lab-001 did not start under KVM with CPU host-model (failed to set MSR 0x10a to 0x69)');
      const second = await chooseAgain(ports, { spec }, baseline, failed, {});
      expect(second?.choice).toEqual(emulation);
      // The last resort, and the requested CPU.
      expect(await chooseAgain(ports, { spec }, emulation, failed, {})).toBeUndefined();
      expect(await chooseAgain(ports, { spec: { ...spec, virtType: 'kvm' } }, hostModel, failed, {})).toBeUndefined();
      expect(
        await chooseAgain(ports, { spec: { ...spec, cpu: 'host-passthrough' } }, { virtType: 'kvm', cpu: 'host-passthrough' }, failed, {}),
      ).toBeUndefined();
      if (!canWrite) return;
      expect((await choose()).choice).toEqual(emulation);
      expect(JSON.parse(await readFile(join(root, 'accelerator.json'), 'utf8')).version).toBe(2);
      expect((await choose({ fresh: true })).choice).toEqual(hostModel);
    },
  );
});
