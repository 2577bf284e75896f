import { appendFile } from 'node:fs/promises';
import { CowherdError } from '../../src/core/errors.js';
import type { DomainState } from '../../src/core/fleet/observation.js';
import type { Hypervisor } from '../../src/ports/hypervisor.js';
import type { Clock } from '../../src/ports/machine.js';

/** Behavior of a guest: its run time and whether it finishes; or QEMU does not start it. */
export type Fate = { ms: number; isSilent?: boolean } | CowherdError;

/**
 * A host with configurable KVM behavior. It runs only transient domains, and reads accelerator, CPU and console log from their XML like
 * a real host.
 */
export class FakeHost {
  now = Date.parse('2026-01-01T00:00:00Z');
  #elapsed = 0;
  readonly #running = new Map<string, { until: number; finish: () => Promise<void> }>();
  /** XML of all started domains. */
  readonly started: string[] = [];
  qemu = 'QEMU 7.2.0';
  hasKvm = true;
  fate: (guest: { virtType: string; mode: string; nth: number }) => Fate = () => ({ ms: 200 });

  readonly clock: Clock = {
    monotonic: () => this.#elapsed,
    now: () => new Date(this.now + this.#elapsed),
    sleep: async (ms) => {
      this.#elapsed += ms;
    },
  };

  readonly hypervisor = {
    uri: 'test:///fake',
    isSystem: true,
    versions: async () => ({ libvirt: '9.0.0', hypervisor: this.qemu }),
    platform: async (virtType: 'kvm' | 'qemu') => {
      if (virtType === 'kvm' && !this.hasKvm) throw new CowherdError('ACCELERATOR_FAILED', 'KVM is not supported');
      return { virtType, arch: 'x86_64', machine: 'pc', emulator: '/usr/bin/qemu-system-x86_64', hasUefi: true, hasTpm: true };
    },
    createTransient: async ({ name, xml }: { name: string; xml: string }) => {
      this.started.push(xml);
      const virtType = /<domain type="(\w+)"/.exec(xml)?.[1] ?? '';
      const mode = /<cpu mode="([\w-]+)"/.exec(xml)?.[1] ?? '';
      const nth = this.started.filter(
        (other) => other.includes(`type="${virtType}"`) && (mode === '' || other.includes(`mode="${mode}"`)),
      ).length;
      const fate = this.fate({ virtType, mode, nth });
      if (fate instanceof CowherdError) throw fate;
      const log = /<log file="([^"]+)"/.exec(xml)?.[1] ?? '';
      const finish = async () => (fate.isSilent === true ? undefined : appendFile(log, 'COWHERD LONG MODE AuthenticAMD\r\n'));
      this.#running.set(name, { until: this.#elapsed + fate.ms, finish });
    },
    listDomains: async (): Promise<DomainState[]> => {
      for (const [name, { until, finish }] of this.#running) {
        if (this.#elapsed < until) continue;
        this.#running.delete(name);
        await finish();
      }
      return [...this.#running.keys()].map((name) => ({ name, uuid: name, state: 'running', reason: 'booted' }));
    },
    destroy: async (name: string) => void this.#running.delete(name),
  } as Partial<Hypervisor> as Hypervisor;
}
