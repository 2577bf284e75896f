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

/** Chooses the accelerator and CPU of a fleet's members. */

type AcceleratorPorts = Pick<Ports, 'hypervisor' | 'accelerator'>;
type Asked = Pick<FleetRecord, 'spec' | 'accelerator'>;

/** The platform of a fleet's members. A fleet keeps its first choice. */
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
  const onProbe = (): void => onProgress?.({ kind: 'note', text: 'Running probe guests once to check whether KVM works' });
  return ports.accelerator.choose(questionOf(spec), { onProbe, signal });
}

/** @throws NOT_SUPPORTED if guests cannot have that CPU */
async function platformFor({ hypervisor }: AcceleratorPorts, choice: AcceleratorChoice): Promise<Platform> {
  const platform = await hypervisor.platform(choice.virtType);
  assertCpu(choice, platform.arch, platform.cpus ?? { modes: [], models: [] });
  return { ...platform, cpu: choice.cpu };
}

export interface ChosenPlatform {
  platform: Platform;
  /** For the record: only an automatic choice, not an explicit one. */
  accelerator: AcceleratorChoice | undefined;
  notes: string[];
}

/** As {@link choosePlatform}, for a verb that can redefine the members: if KVM is no longer available, another accelerator is chosen. */
export async function chooseOrReplace(ports: AcceleratorPorts, asked: Asked, work: WorkOptions): Promise<ChosenPlatform> {
  const { spec } = asked;
  const { choice, unproven } = await chosen(ports, asked, work);
  if (spec.virtType !== 'auto') return { platform: await platformFor(ports, choice), accelerator: undefined, notes: [] };
  if (unproven !== undefined) {
    // Do not record it: the next spawn chooses again, since the probe failed for another reason, such as a full disk.
    const note = `KVM could not be probed, so members are emulated until the next spawn: ${unproven}`;
    return { platform: await platformFor(ports, choice), accelerator: undefined, notes: [note] };
  }
  try {
    return { platform: await platformFor(ports, choice), accelerator: choice, notes: [] };
  } catch (error) {
    if (choice.virtType !== 'kvm') throw error;
    const why = reportOf(error).message;
    await ports.accelerator.refute(questionOf(spec), choice, why);
    const { choice: other } = await chosen(ports, { spec }, work);
    const note = `members can no longer run under ${formatChoice(choice)} (${why}): all were redefined for ${formatChoice(other)}`;
    return { platform: await platformFor(ports, other), accelerator: other, notes: [note] };
  }
}

/** A member that did not start because of the accelerator or the CPU. */
export interface FailedStart {
  name: string;
  /** The error's message. */
  text: string;
}

/** Stops a run at the first start that the accelerator or the CPU prevents: the other members would fail too. */
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

/** After a member did not start with the chosen accelerator: drops the cached result and chooses again. Emulation is the last resort; an explicit choice is never replaced.
 * @returns undefined if there is no alternative
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
  const note = `${name} did not start under ${formatChoice(failed)} (${why}): the cached probe result was dropped and all members were redefined for ${formatChoice(answer.choice)}`;
  return { choice: answer.choice, note };
}

/** The accelerator and CPU in a member's definition. */
export async function definedChoice(
  ports: Pick<Ports, 'hypervisor'>,
  { spec, accelerator }: Asked,
  name: string,
): Promise<AcceleratorChoice | undefined> {
  if (accelerator !== undefined) return accelerator;
  return choiceIn((await ports.hypervisor.readXml([name])).get(name) ?? '', spec.cpu);
}

/** The recorded choice, unless an accelerator or CPU is given; an explicit `auto` also means to choose again. */
export function keptAccelerator(recorded: FleetRecord | undefined, given: GivenSpec | undefined): Pick<FleetRecord, 'accelerator'> {
  if (recorded?.accelerator === undefined || given?.virtType !== undefined || given?.cpu !== undefined) return {};
  return { accelerator: recorded.accelerator };
}
