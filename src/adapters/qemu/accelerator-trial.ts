import type { Platform } from '../../core/domain/template.js';
import { reportOf } from '../../core/errors.js';
import type { AcceleratorQuestion } from '../../core/host/accelerator.js';
import { type AcceleratorChoice, cpuObstacle } from '../../core/host/cpu.js';
import { readBuiltInTemplate } from '../host/templates.js';
import { storeLayout } from '../store/layout.js';
import type { ProbeGuests, ProbePorts } from './probe-guest.js';
import { longestProbeMs } from './probe-limits.js';

/**
 * How many guests must succeed in a row. If KVM works one time in fifteen, as seen on a host whose own KVM is emulated in
 * part, three in a row succeed one time in 3,375; on a host where it works they take a second.
 */
const runsNeeded = 3;

/** How much longer a guest under KVM may take than an emulated one. KVM that is slower than emulation is useless. */
const slackMs = 500;

export const noOffers = { modes: [], models: [] };

/** One round of probes. */
export class Trial {
  readonly #open: () => Promise<ProbeGuests>;
  readonly #ports: ProbePorts;
  readonly #kvm: Platform | string;
  readonly #question: AcceleratorQuestion;
  readonly #signal: AbortSignal | undefined;
  /** Why it says nothing about KVM; undefined if the result can be cached. */
  unproven: string | undefined;
  #guests: ProbeGuests | undefined;
  #limitMs: number | undefined;
  /** Why a guest that needs no KVM did not run. */
  #emulatedFailure: string | undefined;
  /** What shows that KVM itself is broken. */
  #outage: string | undefined;

  constructor(root: string, ports: ProbePorts, question: AcceleratorQuestion, kvm: Platform | string, signal: AbortSignal | undefined) {
    this.#ports = ports;
    this.#kvm = kvm;
    this.#question = question;
    this.#signal = signal;
    this.#open = async () => {
      // It renders templates: only when it is needed, Handlebars is loaded.
      const probes = await import('./probe-guest.js');
      const template = await readBuiltInTemplate('domain');
      return probes.ProbeGuests.open(ports, storeLayout(root).probes, { template, lean: question.lean });
    };
  }

  /** @returns why guests do not run this way; undefined if they do */
  async obstacle(choice: AcceleratorChoice): Promise<string | undefined> {
    if (choice.virtType === 'qemu') return this.#emulationObstacle(choice);
    if (typeof this.#kvm === 'string') return this.#kvm;
    if (this.#outage !== undefined) return this.#outage;
    const platform = { ...this.#kvm, cpu: choice.cpu };
    const refusal = cpuObstacle(choice, platform.arch, platform.cpus ?? noOffers);
    if (refusal !== undefined) return refusal;
    if (platform.arch !== 'x86_64') return undefined;
    try {
      this.#guests ??= await this.#open();
    } catch (error) {
      // A read-only store or a full disk says nothing about KVM.
      this.unproven = `could not create a probe guest: ${reportOf(error).message}`;
      return this.unproven;
    }
    this.#limitMs ??= await this.#limit(this.#guests);
    for (let run = 1; run <= runsNeeded; run++) {
      const result = await this.#guests.run(platform, this.#limitMs, this.#signal);
      if ('ms' in result) continue;
      const ofHost = result.fault === undefined ? (this.#emulatedFailure ?? hostFailure(result.failure)) : undefined;
      if (ofHost !== undefined) {
        this.unproven = `no probe guest could run: ${ofHost}`;
        return this.unproven;
      }
      const why = `probe guest ${run} of ${runsNeeded}: ${result.failure}`;
      if (result.fault === 'kvm') this.#outage = why;
      return why;
    }
    return undefined;
  }

  success(): string {
    return typeof this.#kvm !== 'string' && this.#kvm.arch !== 'x86_64'
      ? `libvirt offers it (there is no probe guest for ${this.#kvm.arch})`
      : `${runsNeeded} of ${runsNeeded} probe guests reached long mode`;
  }

  async #emulationObstacle(choice: AcceleratorChoice): Promise<string | undefined> {
    if (choice.cpu === undefined) return undefined;
    const platform = await this.#ports.hypervisor.platform('qemu');
    return cpuObstacle(choice, platform.arch, platform.cpus ?? noOffers);
  }

  /** Compared with an emulated guest, since both are slower on a busy host. */
  async #limit(guests: ProbeGuests): Promise<number> {
    const platform = await this.#ports.hypervisor.platform('qemu').catch(() => undefined);
    if (platform === undefined) return longestProbeMs;
    const emulated = await guests.run(withMachine(platform, this.#question), longestProbeMs, this.#signal);
    if ('failure' in emulated) this.#emulatedFailure = emulated.failure;
    return 'ms' in emulated ? Math.min(longestProbeMs, emulated.ms + slackMs) : longestProbeMs;
  }

  async close(): Promise<void> {
    await this.#guests?.close();
  }
}

/** Errors unrelated to the accelerator: a full disk, or a directory or file that QEMU cannot access. */
function hostFailure(failure: string): string | undefined {
  const pattern =
    /No space left|ENOSPC|EDQUOT|quota exceeded|Read-only file system|EROFS|EACCES|Permission denied|Too many open files|EMFILE|Cannot allocate memory/i;
  return pattern.test(failure) ? failure : undefined;
}

/** The machine type of members. The probe always boots with a BIOS, since UEFI does not boot a boot sector. */
export function withMachine(platform: Platform, { firmware }: AcceleratorQuestion): Platform {
  return firmware === 'uefi' && platform.arch === 'x86_64' ? { ...platform, machine: 'q35' } : platform;
}
