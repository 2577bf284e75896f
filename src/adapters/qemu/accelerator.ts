import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { release, version } from 'node:os';
import type { Platform } from '../../core/domain/template.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import {
  type AcceleratorAnswer,
  type AcceleratorQuestion,
  type RejectedChoice,
  type Remembered,
  rememberedMs,
  rememberedSchema,
  withEntry,
} from '../../core/host/accelerator.js';
import { type AcceleratorChoice, candidatesFor, cpuObstacle, cpuRefused, formatChoice, isSameChoice } from '../../core/host/cpu.js';
import type { AcceleratorProbe } from '../../ports/machine.js';
import { readBuiltInTemplate } from '../host/templates.js';
import { writeJson } from '../store/files/atomic-write.js';
import { missingLevels, removeEmpty } from '../store/files/directories.js';
import { storeLayout } from '../store/layout.js';
import { noOffers, Trial, withMachine } from './accelerator-trial.js';
import type { ProbePorts } from './probe-guest.js';

interface Opened {
  /** The platform under KVM, or why libvirt offers none. */
  kvm: Platform | string;
  key: string;
  entry: Remembered['entries'][number] | undefined;
}

/**
 * Chooses the accelerator, and under KVM the CPU, by running guests like members. The existence of /dev/kvm proves nothing: it may open and
 * then hang, or lack what the CPU of a member needs. The result is cached in the store as long as nothing that it
 * depends on changes, for a day at most.
 */
export class LongModeProbe implements AcceleratorProbe {
  readonly #root: string;
  readonly #ports: ProbePorts;
  /** Results of this process, since a read-only store cannot cache them. */
  readonly #own = new Map<string, Remembered['entries'][number]>();

  constructor(root: string, ports: ProbePorts) {
    this.#root = root;
    this.#ports = ports;
  }

  async choose(
    question: AcceleratorQuestion,
    {
      fresh = false,
      onProbe,
      signal,
      isKept = true,
    }: { fresh?: boolean; onProbe?: () => void; signal?: AbortSignal | undefined; isKept?: boolean } = {},
  ): Promise<AcceleratorAnswer> {
    const { kvm, key, entry } = await this.#open(question, fresh);
    if (entry?.answer !== undefined) return entry.answer;
    await this.#assertOffered(question, kvm);
    onProbe?.();
    const since = this.#ports.clock.now().toISOString();
    const refuted = entry?.refuted ?? [];
    // Probe guests have files in the store, which may not exist yet.
    const made = isKept ? [] : await missingLevels(storeLayout(this.#root).probes);
    const found = await this.#try(question, kvm, refuted, signal).finally(() => removeEmpty(made));
    const answer = { ...found, since };
    if (answer.unproven === undefined) await this.#remember({ key, since: entry?.since ?? since, answer, refuted }, isKept);
    return answer;
  }

  async refute(
    question: AcceleratorQuestion,
    choice: AcceleratorChoice,
    why: string,
    { isKept = true }: { isKept?: boolean } = {},
  ): Promise<void> {
    const { key, entry } = await this.#open(question, false);
    const refuted = (entry?.refuted ?? []).filter((one) => !isSameChoice(one, choice));
    const { answer } = entry ?? {};
    const entryNow = {
      key,
      since: this.#ports.clock.now().toISOString(),
      refuted: [...refuted, { ...choice, why }],
      // An alternative may already be known from another fleet.
      ...(answer === undefined || isSameChoice(answer.choice, choice) ? {} : { answer }),
    };
    await this.#remember(entryNow, isKept);
  }

  async #try(
    question: AcceleratorQuestion,
    kvm: Platform | string,
    refuted: readonly RejectedChoice[],
    signal: AbortSignal | undefined,
  ): Promise<Omit<AcceleratorAnswer, 'since'>> {
    const rejected: RejectedChoice[] = [];
    const trial = new Trial(this.#root, this.#ports, question, kvm, signal);
    try {
      const all = candidatesFor(question.cpu, typeof kvm === 'string' ? '' : kvm.arch);
      // Without KVM, one reason is enough.
      for (const choice of typeof kvm === 'string' ? all.filter(({ virtType }, index) => index === 0 || virtType === 'qemu') : all) {
        const why = refuted.find((one) => isSameChoice(one, choice))?.why ?? (await trial.obstacle(choice));
        if (why !== undefined) rejected.push({ ...choice, why });
        else {
          const reason = choice.virtType === 'qemu' ? '' : trial.success();
          return { choice, why: reason, rejected, ...(trial.unproven === undefined ? {} : { unproven: trial.unproven }) };
        }
      }
    } finally {
      await trial.close();
    }
    throw new CowherdError('ACCELERATOR_FAILED', `This host cannot run guests with CPU ${question.cpu}`, {
      details: rejected.map((one) => `${formatChoice(one)}: ${one.why}`),
      hint: 'Leave out --cpu, or choose another one: --cpu max works under emulation too. "cowherd doctor --fresh" probes again.',
    });
  }

  /** @throws NOT_SUPPORTED if libvirt offers the CPU under no accelerator, so that there is nothing to probe */
  async #assertOffered({ cpu }: AcceleratorQuestion, kvm: Platform | string): Promise<void> {
    if (cpu === undefined) return;
    const emulated = await this.#ports.hypervisor.platform('qemu').catch(() => undefined);
    const platforms = [...(typeof kvm === 'string' ? [] : [kvm]), ...(emulated === undefined ? [] : [emulated])];
    const refusals = platforms.map(({ virtType, arch, cpus = noOffers }) => {
      const choice = { virtType, cpu };
      const obstacle = cpuObstacle(choice, arch, cpus);
      return obstacle === undefined ? undefined : cpuRefused(obstacle, choice, cpus);
    });
    const [first] = refusals;
    if (first !== undefined && refusals.every((refusal) => refusal !== undefined)) throw first;
  }

  async #open(question: AcceleratorQuestion, fresh: boolean): Promise<Opened> {
    const { hypervisor } = this.#ports;
    const kvm = await hypervisor.platform('kvm').then(
      (platform) => withMachine(platform, question),
      (error: unknown) => `libvirt offers no KVM: ${reportOf(error).message}`,
    );
    const key = await this.#key(question, kvm);
    if (fresh) return { kvm, key, entry: undefined };
    const entry = await this.#entry(key);
    if (entry !== undefined || question.template === undefined) return { kvm, key, entry };
    // Probe guests never use the fleet's own template, so the result for the built-in one applies, unless failed starts are part of it.
    const builtIn = await this.#entry(await this.#key({ ...question, template: undefined }, kvm));
    return { kvm, key, entry: builtIn?.refuted.length === 0 ? builtIn : undefined };
  }

  /** The latest entry that has not expired. */
  async #entry(key: string): Promise<Remembered['entries'][number] | undefined> {
    const { entries } = await this.#remembered();
    const age = (since: string): number => this.#ports.clock.now().getTime() - Date.parse(since);
    return [...this.#own.values(), ...entries]
      .filter((one) => one.key === key && age(one.since) >= 0 && age(one.since) < rememberedMs)
      .sort((one, other) => other.since.localeCompare(one.since))[0];
  }

  async #remembered(): Promise<Remembered> {
    const text = await readFile(storeLayout(this.#root).accelerator, 'utf8').catch(() => '');
    try {
      return rememberedSchema.parse(JSON.parse(text));
    } catch {
      return { version: 2, entries: [] };
    }
  }

  async #remember(entry: Remembered['entries'][number], isKept: boolean): Promise<void> {
    this.#own.set(entry.key, entry);
    if (!isKept) return;
    // If the store cannot be written to, the next run probes again.
    await writeJson(storeLayout(this.#root).accelerator, withEntry(await this.#remembered(), entry)).catch(() => undefined);
  }

  async #key({ cpu, lean, template: own }: AcceleratorQuestion, kvm: Platform | string): Promise<string> {
    const { hypervisor } = this.#ports;
    const { libvirt, hypervisor: qemu } = await hypervisor.versions();
    const machine = typeof kvm === 'string' ? 'no KVM' : `${kvm.arch} ${kvm.machine} ${await fileMark(kvm.emulator)}`;
    const builtIn = createHash('sha256')
      .update(await readBuiltInTemplate('domain'))
      .digest('hex');
    return [
      hypervisor.uri,
      `libvirt ${libvirt}`,
      qemu,
      `kernel ${release()} ${version()}`,
      `cpu ${await hostCpu()}`,
      await fileMark('/dev/kvm'),
      machine,
      `cpu mode ${cpu ?? 'default'}`,
      lean ? 'lean' : 'not lean',
      `template ${builtIn.slice(0, 12)}${own === undefined ? '' : ` ${own.slice(0, 12)}`}`,
    ].join(' | ');
  }
}

async function fileMark(path: string): Promise<string> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return `${path} missing`;
  return [path, stats.size, stats.mode, stats.uid, stats.gid, path.startsWith('/dev/') ? stats.rdev : stats.mtimeMs].join(' ');
}

/** /proc/cpuinfo of the host's first CPU, without clock rates. */
async function hostCpu(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const lines = (text.split('\n\n', 1)[0] ?? '').split('\n').filter((line) => !/^(cpu MHz|bogomips|BogoMIPS)/.test(line));
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 12);
}
