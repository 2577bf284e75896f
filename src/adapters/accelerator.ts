import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { release, version } from 'node:os';
import {
  type AcceleratorAnswer,
  type AcceleratorQuestion,
  type RejectedChoice,
  type Remembered,
  rememberedMs,
  rememberedSchema,
  withEntry,
} from '../core/accelerator.js';
import { type AcceleratorChoice, candidatesFor, cpuObstacle, cpuRefused, formatChoice, isSameChoice } from '../core/cpu.js';
import { CowherdError, reportOf } from '../core/errors.js';
import type { Platform } from '../core/template.js';
import type { AcceleratorProbe } from '../ports.js';
import { writeJson } from './files.js';
import { storeLayout } from './layout.js';
import { longestProbeMs, ProbeGuests, type ProbePorts } from './probe-guest.js';
import { readBuiltInTemplate } from './templates.js';

/**
 * Guests that must succeed one after the other. Where KVM works one time in fifteen, as was seen on a host whose own KVM is emulated in
 * part, three in a row succeed one time in 3,375; and on a host where it works they take a second.
 */
const runsNeeded = 3;

/** How much longer than an emulated guest one under KVM may take. KVM that is slower than emulation is no use. */
const slackMs = 500;

const noOffers = { modes: [], models: [] };

interface Opened {
  /** Under KVM; where libvirt offers none, why. */
  kvm: Platform | string;
  key: string;
  entry: Remembered['entries'][number] | undefined;
}

/**
 * Chooses the accelerator, and under KVM the CPU, by running guests as members run. That /dev/kvm exists proves nothing: it may open and
 * then hang, or refuse what the CPU of a member needs. The answer is remembered in the store, for as long as nothing that it
 * depends on has changed, and for a day at most.
 */
export class LongModeProbe implements AcceleratorProbe {
  readonly #root: string;
  readonly #ports: ProbePorts;

  constructor(root: string, ports: ProbePorts) {
    this.#root = root;
    this.#ports = ports;
  }

  async choose(
    question: AcceleratorQuestion,
    { fresh = false, onProbe, signal }: { fresh?: boolean; onProbe?: () => void; signal?: AbortSignal | undefined } = {},
  ): Promise<AcceleratorAnswer> {
    const { kvm, key, entry } = await this.#open(question, fresh);
    if (entry?.answer !== undefined) return entry.answer;
    await this.#verifyOffered(question, kvm);
    onProbe?.();
    const since = this.#ports.clock.now().toISOString();
    const refuted = entry?.refuted ?? [];
    const answer = { ...(await this.#try(question, kvm, refuted, signal)), since };
    await this.#remember({ key, since: entry?.since ?? since, answer, refuted });
    return answer;
  }

  async refute(question: AcceleratorQuestion, choice: AcceleratorChoice, why: string): Promise<void> {
    const { key, entry } = await this.#open(question, false);
    const refuted = (entry?.refuted ?? []).filter((one) => !isSameChoice(one, choice));
    const { answer } = entry ?? {};
    await this.#remember({
      key,
      since: this.#ports.clock.now().toISOString(),
      refuted: [...refuted, { ...choice, why }],
      // What works instead may be known already, from another fleet.
      ...(answer === undefined || isSameChoice(answer.choice, choice) ? {} : { answer }),
    });
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
      for (const choice of candidatesFor(question.cpu, typeof kvm === 'string' ? '' : kvm.arch)) {
        const why = refuted.find((one) => isSameChoice(one, choice))?.why ?? (await trial.obstacle(choice));
        if (why !== undefined) rejected.push({ ...choice, why });
        else return { choice, why: choice.virtType === 'qemu' ? '' : trial.success(), rejected };
      }
    } finally {
      await trial.close();
    }
    throw new CowherdError('ACCELERATOR_FAILED', `This host does not run guests with CPU ${question.cpu}`, {
      details: rejected.map((one) => `${formatChoice(one)}: ${one.why}`),
      hint: 'Leave --cpu out, or name another one: --cpu max works under emulation too. "cowherd doctor --fresh" probes again.',
    });
  }

  /** @throws NOT_SUPPORTED where libvirt offers the CPU under no accelerator: there is nothing to probe */
  async #verifyOffered({ cpu }: AcceleratorQuestion, kvm: Platform | string): Promise<void> {
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
    const { entries } = await this.#remembered();
    const age = (since: string): number => this.#ports.clock.now().getTime() - Date.parse(since);
    const entry = entries.find((one) => one.key === key && age(one.since) >= 0 && age(one.since) < rememberedMs);
    return { kvm, key, entry: fresh ? undefined : entry };
  }

  async #remembered(): Promise<Remembered> {
    const text = await readFile(storeLayout(this.#root).accelerator, 'utf8').catch(() => '');
    try {
      return rememberedSchema.parse(JSON.parse(text));
    } catch {
      return { version: 2, entries: [] };
    }
  }

  async #remember(entry: Remembered['entries'][number]): Promise<void> {
    // A store that cannot be written to yet only means that the next run probes again.
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

/** One round of probes. */
class Trial {
  readonly #open: () => Promise<ProbeGuests>;
  readonly #ports: ProbePorts;
  readonly #kvm: Platform | string;
  readonly #question: AcceleratorQuestion;
  readonly #signal: AbortSignal | undefined;
  #guests: ProbeGuests | undefined;
  #limitMs: number | undefined;
  /** What shows that KVM itself is out of order. */
  #outage: string | undefined;

  constructor(root: string, ports: ProbePorts, question: AcceleratorQuestion, kvm: Platform | string, signal: AbortSignal | undefined) {
    this.#ports = ports;
    this.#kvm = kvm;
    this.#question = question;
    this.#signal = signal;
    this.#open = async () =>
      ProbeGuests.open(ports, storeLayout(root).probes, { template: await readBuiltInTemplate('domain'), lean: question.lean });
  }

  /** @returns what keeps guests from running so; undefined where they run */
  async obstacle(choice: AcceleratorChoice): Promise<string | undefined> {
    if (choice.virtType === 'qemu') return this.#emulationObstacle(choice);
    if (typeof this.#kvm === 'string') return this.#kvm;
    if (this.#outage !== undefined) return this.#outage;
    const platform = { ...this.#kvm, cpu: choice.cpu };
    const refusal = cpuObstacle(choice, platform.arch, platform.cpus ?? noOffers);
    if (refusal !== undefined) return refusal;
    if (platform.arch !== 'x86_64') return undefined;
    this.#guests ??= await this.#open();
    this.#limitMs ??= await this.#limit(this.#guests);
    for (let run = 1; run <= runsNeeded; run++) {
      const result = await this.#guests.run(platform, this.#limitMs, this.#signal);
      if ('ms' in result) continue;
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

  /** Measured against an emulated guest, since both are slower on a busy host. */
  async #limit(guests: ProbeGuests): Promise<number> {
    const platform = await this.#ports.hypervisor.platform('qemu').catch(() => undefined);
    if (platform === undefined) return longestProbeMs;
    const emulated = await guests.run(withMachine(platform, this.#question), longestProbeMs, this.#signal);
    return 'ms' in emulated ? Math.min(longestProbeMs, emulated.ms + slackMs) : longestProbeMs;
  }

  async close(): Promise<void> {
    await this.#guests?.close();
  }
}

/** The machine that members have. The probe boots by a BIOS on it either way: the firmware of UEFI boots no sector. */
function withMachine(platform: Platform, { firmware }: AcceleratorQuestion): Platform {
  return firmware === 'uefi' && platform.arch === 'x86_64' ? { ...platform, machine: 'q35' } : platform;
}

async function fileMark(path: string): Promise<string> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return `${path} missing`;
  return [path, stats.size, stats.mode, stats.uid, stats.gid, path.startsWith('/dev/') ? stats.rdev : stats.mtimeMs].join(' ');
}

/** What the first CPU of the host says of itself, but for its clock. */
async function hostCpu(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  const lines = (text.split('\n\n', 1)[0] ?? '').split('\n').filter((line) => !/^(cpu MHz|bogomips|BogoMIPS)/.test(line));
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 12);
}
