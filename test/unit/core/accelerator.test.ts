import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseCpuOffers } from '../../../src/adapters/libvirt/cpu-offers.js';
import { virshError } from '../../../src/adapters/libvirt/session/virsh-errors.js';
import { specOf } from '../../../src/cli/flags/spec.js';
import { CowherdError } from '../../../src/core/errors.js';
import { formatAnswer, questionOf, type Remembered, withEntry } from '../../../src/core/host/accelerator.js';
import { acceleratorFaultIn, acceleratorFaultOf, faultText } from '../../../src/core/host/accelerator-faults.js';
import { assertCpu, candidatesFor, choiceIn, cpuObstacle, cpuXml } from '../../../src/core/host/cpu.js';
import { defaultDomainSpec, domainSpecSchema } from '../../../src/core/spec/spec.js';

const capabilities = (virtType: string) => readFileSync(new URL(`../../fixtures/domcapabilities-${virtType}.xml`, import.meta.url), 'utf8');
const offers = { kvm: parseCpuOffers(capabilities('kvm')), qemu: parseCpuOffers(capabilities('qemu')) };

// Messages of libvirt 9.0 and QEMU 7.2 on a host with nested KVM, after virsh's "error: ".
const msr = `Failed to start domain 'lab-001'
internal error: qemu unexpectedly closed the monitor: 2026-11-25T15:43:39.344946Z qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69
qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion \`ret == cpu->kvm_msr_buf->nmsrs' failed.`;

describe('the reason why a guest did not start', () => {
  it.each([
    ['cpu', msr],
    ['cpu', "Failed to start domain 'x'\nthe CPU is incompatible with host CPU: Host CPU does not provide required features: svm"],
    ['cpu', "unsupported configuration: CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host is not supported by hypervisor"],
    ['cpu', 'internal error: Unknown CPU model Nosuch'],
    ['cpu', 'unsupported configuration: unknown CPU feature: nosuchfeature'],
    [
      'cpu',
      "operation failed: guest CPU doesn't match specification: extra features: hypervisor,clflushopt,pku, missing features: vme,pcid,x2apic",
    ],
    [
      'cpu',
      "internal error: process exited while connecting to monitor: qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]\nqemu-system-x86_64: Host doesn't support requested features",
    ],
    ['cpu', "qemu-system-x86_64: TCG doesn't support requested features"],
    ['cpu', "qemu-system-x86_64: CPU model 'host' requires KVM or HVF"],
    ['cpu', "qemu-system-x86_64: unable to find CPU model 'nosuch'"],
    [
      'kvm',
      'internal error: process exited while connecting to monitor: Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied',
    ],
    ['kvm', 'Could not access KVM kernel module: No such file or directory'],
    ['kvm', "invalid argument: KVM is not supported by '/usr/bin/qemu-system-x86_64' on this host"],
    ['kvm', "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support virt type 'kvm'"],
  ])('is the accelerator or the CPU (%s): %j', (fault, text) => {
    expect(acceleratorFaultIn(text)).toBe(fault);
    expect(virshError('start lab-001', text)).toMatchObject({
      code: 'ACCELERATOR_FAILED',
      exitCode: 8,
      hint: expect.stringContaining('--virt-type auto'),
    });
  });

  it.each([
    // QEMU warns about the CPU, but fails for another reason.
    'internal error: process exited while connecting to monitor: qemu-system-x86_64: warning: host doesn\'t support requested feature: CPUID.01H:ECX.pni [bit 0]\nqemu-system-x86_64: -blockdev {}: Failed to get "write" lock',
    "unsupported configuration: CPU topology doesn't match maximum vcpu count",
    'unsupported configuration: Maximum CPUs greater than specified machine type limit 255',
    "Could not open '/s/base.qcow2': Permission denied",
    'cannot set up guest memory: Cannot allocate memory',
    'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainCreate)',
  ])('is something else: %j', (text) => {
    expect(acceleratorFaultIn(text)).toBeUndefined();
    expect(acceleratorFaultOf(virshError('start lab-001', text))).toBeUndefined();
  });

  it("is reported in QEMU's words, with a command for the fleet", () => {
    const error = virshError('start lab-001', msr);
    expect(faultText(error.message)).toBe('failed to set MSR 0x10a to 0x69');
    expect(error.hint).toContain('cowherd spawn lab --cpu x86-64-v2');
    expect(acceleratorFaultOf(error)).toBe('cpu');
    expect(acceleratorFaultOf(new CowherdError('TOOL_FAILED', error.message))).toBeUndefined();
  });
});

describe('the CPU of a fleet', () => {
  it('is a flag, and a key of a fleet file, with one rule', () => {
    expect(specOf({ cpu: 'host-passthrough' }).cpu).toBe('host-passthrough');
    expect(specOf({}, { cpu: 'max' }).cpu).toBe('max');
    expect(specOf({ cpu: 'EPYC-Rome' }, { cpu: 'max' }).cpu).toBe('EPYC-Rome');
    for (const cpu of ['', 'a"b', 'a b', '<model/>', 'a,+svm', '-x', 'a\nb', 'a&b', 'x'.repeat(65), 'ü'])
      expect(() => specOf({ cpu }), cpu).toThrow(
        expect.objectContaining({ code: 'BAD_USAGE', details: [expect.stringMatching(/^--cpu: is not a CPU/)] }),
      );
    // A spec without a CPU must not change, nor the digest of any domain.
    expect(JSON.stringify(domainSpecSchema.parse(defaultDomainSpec))).not.toContain('cpu":');
  });

  it('is written as XML for libvirt', () => {
    expect(cpuXml(undefined)).toBe('');
    expect(cpuXml('host-model')).toBe('<cpu mode="host-model"/>');
    expect(cpuXml('max')).toBe('<cpu mode="maximum"/>');
    expect(cpuXml('EPYC')).toBe('<cpu mode="custom" match="exact"><model fallback="forbid">EPYC</model></cpu>');
    expect(cpuXml('x86-64-v2')).toMatch(
      /<model fallback="forbid">kvm64<\/model>(<feature policy="optional" name="[a-z0-9._]+"\/>){5}<\/cpu>$/,
    );
  });

  it('is read from the XML that libvirt prints', () => {
    expect(choiceIn("<domain type='kvm'>\n<cpu mode='host-model' check='partial'/>", undefined)).toEqual({
      virtType: 'kvm',
      cpu: 'host-model',
    });
    expect(choiceIn("<domain type='kvm'>\n<cpu mode='custom' match='exact' check='partial'>", undefined)).toEqual({
      virtType: 'kvm',
      cpu: 'x86-64-v2',
    });
    expect(choiceIn("<domain type='qemu' id='1'>\n<cpu mode='custom'>", undefined)).toEqual({ virtType: 'qemu' });
    expect(choiceIn("<domain type='qemu'>", 'max')).toEqual({ virtType: 'qemu', cpu: 'max' });
    expect(choiceIn('', undefined)).toBeUndefined();
  });

  it('must be one that libvirt offers (virsh 9.0: domcapabilities)', () => {
    expect(offers.kvm.modes).toEqual(['host-passthrough', 'maximum', 'host-model', 'custom']);
    expect(offers.qemu.modes).toEqual(['maximum', 'host-model', 'custom']);
    expect(offers.qemu.models).toEqual(expect.arrayContaining(['qemu64', 'kvm64', 'EPYC-Rome', '486']));
    const obstacle = (virtType: 'kvm' | 'qemu', cpu: string) => cpuObstacle({ virtType, cpu }, 'x86_64', offers[virtType]);
    for (const cpu of ['host-model', 'max', 'x86-64-v2', 'EPYC'])
      expect([obstacle('kvm', cpu), obstacle('qemu', cpu)]).toEqual([undefined, undefined]);
    expect(obstacle('kvm', 'host-passthrough')).toBeUndefined();
    expect(obstacle('qemu', 'host-passthrough')).toBe('libvirt cannot give emulated guests the CPU host-passthrough');
    expect(cpuObstacle({ virtType: 'qemu', cpu: 'a"/><b' }, 'x86_64', { modes: [], models: [] })).toContain('is not the name of a CPU');
    expect(cpuObstacle({ virtType: 'qemu', cpu: 'x86-64-v2' }, 'aarch64', { modes: [], models: [] })).toContain('an x86 CPU');
    const refused = { code: 'NOT_SUPPORTED', details: [expect.stringContaining('EPYC-Rome')], hint: expect.stringContaining('--cpu max') };
    expect(() => assertCpu({ virtType: 'qemu', cpu: 'EPIC' }, 'x86_64', offers.qemu)).toThrow(expect.objectContaining(refused));
  });

  it('is tried under KVM first, then a baseline, then emulation; a requested CPU is kept', () => {
    expect(candidatesFor(undefined, 'x86_64')).toEqual([
      { virtType: 'kvm', cpu: 'host-model' },
      { virtType: 'kvm', cpu: 'x86-64-v2' },
      { virtType: 'qemu' },
    ]);
    expect(candidatesFor(undefined, 'aarch64').map(({ cpu }) => cpu)).toEqual(['host-model', 'host-passthrough', undefined]);
    expect(candidatesFor('EPYC', 'x86_64')).toEqual([
      { virtType: 'kvm', cpu: 'EPYC' },
      { virtType: 'qemu', cpu: 'EPYC' },
    ]);
    expect(candidatesFor('host-passthrough', 'x86_64')).toEqual([{ virtType: 'kvm', cpu: 'host-passthrough' }]);
  });
});

describe('the accelerator cache', () => {
  it('has one entry per question, and few entries', () => {
    const entry = (key: string, since: string) => ({ key, since, refuted: [] });
    const times = Array.from({ length: 40 }, (_, n) => `2026-01-01T00:00:${String(n % 60).padStart(2, '0')}.000Z`);
    const all = times.reduce<Remembered>((known, since, n) => withEntry(known, entry(`k${n}`, since)), { version: 2, entries: [] });
    expect(all.entries.map(({ key }) => key)).toEqual(Array.from({ length: 16 }, (_, n) => `k${39 - n}`));
    expect(withEntry(all, entry('k30', '2026-02-01T00:00:00.000Z')).entries).toHaveLength(16);
    expect(questionOf({ ...defaultDomainSpec, memoryMiB: 77 })).toEqual(questionOf(defaultDomainSpec));
  });

  it('describes the choice, its reason and its time', () => {
    const since = '2026-11-25T16:01:08.754Z';
    const rejected = [{ virtType: 'kvm' as const, cpu: 'host-model', why: 'probe guest 1 of 3: failed to set MSR 0x10a to 0x69' }];
    expect(
      formatAnswer({ choice: { virtType: 'kvm', cpu: 'x86-64-v2' }, why: '3 of 3 probe guests reached long mode', rejected, since }),
    ).toBe(
      `KVM with CPU x86-64-v2 (3 of 3 probe guests reached long mode; not KVM with CPU host-model: probe guest 1 of 3: failed to set MSR 0x10a to 0x69), known since ${since}`,
    );
  });
});
