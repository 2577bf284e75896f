import { z } from 'zod';
import { CowherdError } from '../errors.js';

/** The accelerator and the CPU of members: what can be requested, what is tried in which order, and the XML. */

export type VirtType = 'kvm' | 'qemu';

/** A level of the x86-64 ABI, based on `kvm64`: see {@link baselineFeatures}. */
const baselineCpu = 'x86-64-v2';

const modeOf: Record<string, string> = { 'host-model': 'host-model', 'host-passthrough': 'host-passthrough', max: 'maximum' };

/**
 * `kvm64` runs on every 64-bit host of any vendor, unlike `qemu64`, which libvirt considers to need AMD's virtualization. By itself
 * it is too old for RHEL 9 or Windows 11, so the rest of x86-64-v2 is added if the host has it. None of these features needs MSRs.
 */
const baselineModel = 'kvm64';
const baselineFeatures = ['ssse3', 'sse4.1', 'sse4.2', 'popcnt', 'lahf_lm'];

/** The name goes into XML and on QEMU's command line. */
export const cpuSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
    `is not a CPU: write host-model, host-passthrough, max, ${baselineCpu} or the name of a model, such as Skylake-Server`,
  );

export const choiceSchema = z.strictObject({
  virtType: z.enum(['kvm', 'qemu']),
  /** As in the spec; absent for QEMU's default. */
  cpu: cpuSchema.optional(),
});
/** The accelerator and CPU of members. */
export type AcceleratorChoice = z.infer<typeof choiceSchema>;

/** The CPUs that libvirt offers for one accelerator. Empty lists if unknown. */
export interface CpuOffers {
  /** libvirt's names of the modes. */
  modes: readonly string[];
  models: readonly string[];
}

/** The CPU of members whose spec names none. Emulated guests keep QEMU's default. */
export function defaultCpu(virtType: VirtType): string | undefined {
  return virtType === 'kvm' ? 'host-model' : undefined;
}

/** What `auto` tries, the best first. A requested CPU is kept. */
export function candidatesFor(cpu: string | undefined, arch: string): AcceleratorChoice[] {
  if (cpu !== undefined) return [{ virtType: 'kvm', cpu }, ...(cpu === 'host-passthrough' ? [] : [{ virtType: 'qemu' as const, cpu }])];
  // libvirt models only x86 CPUs; elsewhere it may offer only the host's own CPU.
  const second = arch === 'x86_64' ? baselineCpu : 'host-passthrough';
  return [{ virtType: 'kvm', cpu: defaultCpu('kvm') }, { virtType: 'kvm', cpu: second }, { virtType: 'qemu' }];
}

export function isSameChoice(one: AcceleratorChoice, other: AcceleratorChoice): boolean {
  return one.virtType === other.virtType && one.cpu === other.cpu;
}

export function formatChoice({ virtType, cpu }: AcceleratorChoice): string {
  return `${virtType === 'kvm' ? 'KVM' : 'emulation'}${cpu === undefined ? '' : ` with CPU ${cpu}`}`;
}

/** A CPU as libvirt's XML has it. */
export function cpuParts(cpu: string): { mode: string; model: string | undefined } {
  const mode = modeOf[cpu];
  if (mode !== undefined) return { mode, model: undefined };
  return { mode: 'custom', model: cpu === baselineCpu ? baselineModel : cpu };
}

/** The `<cpu>` element; empty for QEMU's default. */
export function cpuXml(cpu: string | undefined): string {
  if (cpu === undefined) return '';
  const { mode, model } = cpuParts(cpu);
  if (model === undefined) return `<cpu mode="${mode}"/>`;
  const features = cpu === baselineCpu ? baselineFeatures.map((name) => `<feature policy="optional" name="${name}"/>`).join('') : '';
  return `<cpu mode="custom" match="exact"><model fallback="forbid">${model}</model>${features}</cpu>`;
}

/** The choice that a domain was defined with. @param cpu as in its fleet's spec */
export function choiceIn(xml: string, cpu: string | undefined): AcceleratorChoice | undefined {
  const virtType = /<domain type=['"](kvm|qemu)['"]/.exec(xml)?.[1] as VirtType | undefined;
  if (virtType === undefined) return undefined;
  if (cpu !== undefined) return { virtType, cpu };
  if (virtType === 'qemu') return { virtType };
  const mode = /<cpu mode=['"]([a-z-]+)['"]/.exec(xml)?.[1];
  return { virtType, cpu: mode === 'custom' ? baselineCpu : mode === 'host-passthrough' ? mode : defaultCpu('kvm') };
}

/** @returns why guests cannot have that CPU; undefined if libvirt reports no obstacle */
export function cpuObstacle({ virtType, cpu }: AcceleratorChoice, arch: string, { modes, models }: CpuOffers): string | undefined {
  if (cpu === undefined) return undefined;
  // From the library it is not validated.
  if (!cpuSchema.safeParse(cpu).success) return `${JSON.stringify(cpu.slice(0, 80))} is not the name of a CPU`;
  const guests = virtType === 'kvm' ? 'guests under KVM' : 'emulated guests';
  if (cpu === baselineCpu && arch !== 'x86_64') return `${cpu} is an x86 CPU, and this host is ${arch}`;
  const { mode, model } = cpuParts(cpu);
  if (modes.length > 0 && !modes.includes(mode)) return `libvirt cannot give ${guests} the CPU ${cpu}`;
  if (model !== undefined && models.length > 0 && !models.includes(model)) return `libvirt knows no CPU model ${model} for ${guests}`;
  return undefined;
}

/** @throws NOT_SUPPORTED */
export function assertCpu(choice: AcceleratorChoice, arch: string, offers: CpuOffers): void {
  const obstacle = cpuObstacle(choice, arch, offers);
  if (obstacle !== undefined) throw cpuRefused(obstacle, choice, offers);
}

export function cpuRefused(obstacle: string, { virtType, cpu }: AcceleratorChoice, { modes, models }: CpuOffers): CowherdError {
  const names = Object.keys(modeOf).filter((name) => name !== cpu && modes.includes(modeOf[name] ?? ''));
  const wanted = cpu?.toLowerCase() ?? '';
  const near = models.filter((model) => model.toLowerCase().startsWith(wanted.slice(0, 2))).slice(0, 8);
  return new CowherdError('NOT_SUPPORTED', obstacle, {
    ...(near.length === 0 || modeOf[cpu ?? ''] !== undefined ? {} : { details: [`models with a similar name: ${near.join(', ')}`] }),
    hint: `Choose another one: ${[...names, baselineCpu].map((name) => `--cpu ${name}`).join(', ')}, or a model from "virsh domcapabilities --virttype ${virtType}".`,
  });
}
