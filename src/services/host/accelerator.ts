import type { Platform } from '../../core/domain/template.js';
import { reportOf } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { type AcceleratorAnswer, questionOf } from '../../core/host/accelerator.js';
import { acceleratorFaultOf, faultText } from '../../core/host/accelerator-faults.js';
import { type AcceleratorChoice, assertCpu, choiceIn, defaultCpu, formatChoice, isSameChoice } from '../../core/host/cpu.js';
import type { GivenSpec } from '../../core/spec/spec.js';
import type { Ports } from '../../ports/index.js';
import type { WorkOptions } from '../fleet/access.js';
import type { Performer, RunResult } from '../run/member-executor.js';

/** Which accelerator and CPU the members of a fleet run with. */

type AcceleratorPorts = Pick<Ports, 'hypervisor' | 'accelerator'>;
type Asked = Pick<FleetRecord, 'spec' | 'accelerator'>;

/** What its members run with. A fleet that has chosen once stays with that. */
export async function choosePlatform(ports: AcceleratorPorts, asked: Asked, work: WorkOptions = {}): Promise<Platform> {
  return platformFor(ports, (await chosen(ports, asked, work)).choice);
}

async function chosen(
  ports: AcceleratorPorts,
  { spec, accelerator }: Asked,
  { signal, onProgress }: WorkOptions,
): Promise<Pick<AcceleratorAnswer, 'choice' | 'unproven'>> {
  const { virtType, cpu } = spec;
  if (virtType !== 'auto') return { choice: { virtType, cpu: cpu ?? defaultCpu(virtType) } };
  if (accelerator !== undefined) return { choice: accelerator };
  const onProbe = (): void => onProgress?.({ kind: 'note', text: 'running probe guests, once, to see whether KVM works' });
  return ports.accelerator.choose(questionOf(spec), { onProbe, signal });
}

/** @throws NOT_SUPPORTED where guests cannot have that CPU */
async function platformFor({ hypervisor }: AcceleratorPorts, choice: AcceleratorChoice): Promise<Platform> {
  const platform = await hypervisor.platform(choice.virtType);
  assertCpu(choice, platform.arch, platform.cpus ?? { modes: [], models: [] });
  return { ...platform, cpu: choice.cpu };
}

export interface ChosenPlatform {
  platform: Platform;
  /** For the record: only what was chosen, not what was asked for. */
  accelerator: AcceleratorChoice | undefined;
  notes: string[];
}

/** As {@link choosePlatform}, for a verb that can define the members anew: where KVM is gone, something else is chosen. */
export async function chooseOrReplace(ports: AcceleratorPorts, asked: Asked, work: WorkOptions): Promise<ChosenPlatform> {
  const { spec } = asked;
  const { choice, unproven } = await chosen(ports, asked, work);
  if (spec.virtType !== 'auto') return { platform: await platformFor(ports, choice), accelerator: undefined, notes: [] };
  if (unproven !== undefined) {
    // Chosen again by the next spawn: the fleet must not stay with what a full disk has decided.
    const note = `nothing is known of KVM, and members are emulated until the next spawn: ${unproven}`;
    return { platform: await platformFor(ports, choice), accelerator: undefined, notes: [note] };
  }
  try {
    return { platform: await platformFor(ports, choice), accelerator: choice, notes: [] };
  } catch (error) {
    if (choice.virtType !== 'kvm') throw error;
    const why = reportOf(error).message;
    await ports.accelerator.refute(questionOf(spec), choice, why);
    const { choice: other } = await chosen(ports, { spec }, work);
    const note = `members cannot run under ${formatChoice(choice)} any more (${why}): all of them are defined for ${formatChoice(other)} now`;
    return { platform: await platformFor(ports, other), accelerator: other, notes: [note] };
  }
}

/** A member that did not start for want of the accelerator or the CPU. */
export interface FailedStart {
  name: string;
  /** The error's message. */
  text: string;
}

/** Stops a run at the first start that the accelerator or the CPU prevents: the other members would fail alike. */
export function stoppingAtRefusal(performer: Performer<MemberIdentity>, refusal: AbortController): Performer<MemberIdentity> {
  return {
    ...performer,
    step: (step, member) =>
      performer.step(step, member).catch((error: unknown) => {
        if (step === 'start' && acceleratorFaultOf(error) !== undefined) refusal.abort();
        throw error;
      }),
  };
}

export function failedStarts({ results }: RunResult): FailedStart[] {
  return results.flatMap((result) =>
    result.kind === 'failed' && result.step === 'start' && acceleratorFaultOf(result.error) !== undefined
      ? [{ name: result.member.name, text: reportOf(result.error).message }]
      : [],
  );
}

/**
 * After a member did not start with what was chosen: forgets that it works, and chooses again. Emulation is the last resort, and what
 * was asked for explicitly is never replaced.
 * @returns undefined where there is nothing else
 */
export async function chooseAgain(
  ports: AcceleratorPorts,
  { spec }: Asked,
  failed: AcceleratorChoice | undefined,
  { name, text }: FailedStart,
  work: WorkOptions,
): Promise<{ choice: AcceleratorChoice; note: string } | undefined> {
  if (spec.virtType !== 'auto' || failed?.virtType !== 'kvm') return undefined;
  const question = questionOf(spec);
  const why = faultText(text);
  await ports.accelerator.refute(question, failed, `${name} did not start: ${why}`);
  const onProbe = (): void =>
    work.onProgress?.({ kind: 'note', text: `${name} did not start under ${formatChoice(failed)}: probing again` });
  const answer = await ports.accelerator.choose(question, { onProbe, signal: work.signal }).catch(() => undefined);
  if (answer === undefined || isSameChoice(answer.choice, failed)) return undefined;
  const note = `${name} did not start under ${formatChoice(failed)} (${why}): the remembered answer was dropped, and all members are defined for ${formatChoice(answer.choice)} now`;
  return { choice: answer.choice, note };
}

/** What a member was defined with. */
export async function definedChoice(
  ports: Pick<Ports, 'hypervisor'>,
  { spec, accelerator }: Asked,
  name: string,
): Promise<AcceleratorChoice | undefined> {
  if (accelerator !== undefined) return accelerator;
  return choiceIn((await ports.hypervisor.readXml([name])).get(name) ?? '', spec.cpu);
}

/** What a fleet has chosen counts until another accelerator or CPU is asked for; also `auto` again means to choose again. */
export function keptAccelerator(recorded: FleetRecord | undefined, given: GivenSpec | undefined): Pick<FleetRecord, 'accelerator'> {
  if (recorded?.accelerator === undefined || given?.virtType !== undefined || given?.cpu !== undefined) return {};
  return { accelerator: recorded.accelerator };
}
