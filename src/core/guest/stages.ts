import { CowherdError } from '../errors.js';

/** Readiness stages of a guest, in the order in which it reaches them. */
export const stages = ['running', 'console', 'address', 'agent', 'ssh', 'cloud-init'] as const;
export type ReadyStage = (typeof stages)[number];

/** The stages that a member must reach to be ready. */
export interface WaitFor {
  /** In order. */
  stages: ReadyStage[];
  /** For stage console. */
  pattern?: RegExp;
}

/** `--wait auto`: the stage that the base image names. */
export interface AutoWait {
  stages: 'auto';
  /** For a VM that is to be cloned: the agent must answer, whatever the image names. */
  withAgent?: true;
}

/** As requested, before the base image is known. */
export type WaitRequest = WaitFor | AutoWait;

/** Stages that a stage requires. They are waited for first, so that a failure names the first stage that was not reached. */
const needs: Partial<Record<ReadyStage, ReadyStage[]>> = { ssh: ['address'] };

/**
 * `running`, `address`, `agent`, `ssh`, `cloud-init`, or several separated by commas; `console=REGEX` last.
 * @throws BAD_USAGE
 */
export function parseWaitFor(text: string): WaitFor {
  const match = /^(.*?),?console=(.+)$/s.exec(text);
  const words = (match === null ? text : (match[1] ?? '')).split(',').filter((word) => word !== '');
  const wanted = new Set<ReadyStage>();
  for (const word of words) {
    const stage = stages.find((known) => known === word && known !== 'console');
    if (stage === undefined) throw unknownStage(text);
    for (const one of [...(needs[stage] ?? []), stage]) wanted.add(one);
  }
  if (match !== null) wanted.add('console');
  if (wanted.size === 0) throw unknownStage(text);
  const ordered = stages.filter((stage) => wanted.has(stage));
  return match === null ? { stages: ordered } : { stages: ordered, pattern: parsePattern(match[2] ?? '') };
}

/** As {@link parseWaitFor}, or `auto`. @throws BAD_USAGE */
export function parseWaitRequest(text: string): WaitRequest {
  return text === 'auto' ? { stages: 'auto' } : parseWaitFor(text);
}

export function isAutoWait(wait: WaitRequest | undefined): wait is AutoWait {
  return wait?.stages === 'auto';
}

/**
 * The stages to wait for, once the base image is known.
 * @param image how messages name it @param stage that its defaults name
 * @throws BAD_USAGE if the image has to name one and does not
 */
export function resolveWait(wait: WaitRequest | undefined, image: string, stage: ReadyStage | undefined): WaitFor | undefined {
  if (!isAutoWait(wait)) return wait;
  if (wait.withAgent === true) return parseWaitFor(stage === 'cloud-init' ? 'agent,cloud-init' : 'agent');
  if (stage !== undefined) return parseWaitFor(stage);
  throw new CowherdError('BAD_USAGE', `It is not known what to wait for: base image ${image} names no stage for --wait auto`, {
    hint: 'Name the stage: --wait agent, ssh, cloud-init, address or running, or --wait "console=REGEX".',
  });
}

/** As {@link parseWaitFor} reads it. */
export function formatWaitFor({ stages: wanted, pattern }: WaitFor): string {
  return wanted
    .map((stage) => (stage === 'console' && pattern !== undefined ? `console=${pattern.source}` : stage))
    .sort(consoleLast)
    .join(',');
}

function consoleLast(a: string, b: string): number {
  return Number(a.startsWith('console=')) - Number(b.startsWith('console='));
}

function unknownStage(text: string): CowherdError {
  return new CowherdError('BAD_USAGE', `Unknown readiness stage ${JSON.stringify(text)}`, {
    hint: 'Write --wait running, address, agent, ssh or cloud-init, several of them with commas, or console=REGEX, e.g. --wait "console=login:". Or auto alone, for the stage that the image names.',
  });
}

function parsePattern(pattern: string): RegExp {
  try {
    return new RegExp(pattern, 'm');
  } catch (cause) {
    throw new CowherdError('BAD_USAGE', `console=${pattern} is not a regular expression: ${(cause as Error).message}`, {
      hint: 'Quote special characters with a backslash.',
      cause,
    });
  }
}
