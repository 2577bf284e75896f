import { CowherdError } from '../errors.js';

/**
 * What an engine says about itself: the platform that runs a fleet's members. Shared code refuses what an engine cannot do, and
 * docs/engines.md is generated from these declarations.
 */

/** The commands that depend on the engine, as they are typed. */
export const engineVerbs = [
  'spawn',
  'status',
  'list',
  'report',
  'reset',
  'rebase',
  'promote',
  'start',
  'stop',
  'teardown',
  'resume',
  'verify',
  'exec',
  'cp',
  'ssh',
  'inventory',
  'logs',
  'console',
  'events',
  'dashboard',
  'checkpoint',
  'compact',
  'doctor',
  'base add',
  'base prepare',
  'base list',
  'base inspect',
  'base verify',
  'base remove',
  'base prune',
  'base export',
  'base history',
  'base relocate',
  'base catalog',
  'base pull',
  'base update',
  'snapshot take',
  'snapshot list',
  'snapshot rollback',
  'snapshot drop',
  'snapshot commit',
  'template render',
] as const;
export type EngineVerb = (typeof engineVerbs)[number];

/** Something that an engine cannot do. */
export interface Lack {
  /** The reason, as the end of a sentence: `it keeps no memory of servers`. */
  why: string;
  /** What to do instead, as a hint. */
  instead: string;
}

export interface EngineDeclaration {
  name: string;
  /** For messages and the documentation. */
  title: string;
  /** How it performs each command, as a phrase for the documentation, or why it cannot. */
  verbs: Readonly<Record<EngineVerb, string | Lack>>;
  /** Options that it cannot do: `reset --warm`, `--memory` for all commands, or `--via agent` for one value of an option. */
  options: Readonly<Record<string, Lack>>;
}

function isLack(entry: string | Lack): entry is Lack {
  return typeof entry !== 'string';
}

/** What an engine cannot do of the commands. */
export function lacksOf({ verbs }: Pick<EngineDeclaration, 'verbs'>): Map<EngineVerb, Lack> {
  return new Map(engineVerbs.flatMap((verb) => (isLack(verbs[verb]) ? [[verb, verbs[verb]] as [EngineVerb, Lack]] : [])));
}

/** @throws NOT_SUPPORTED if the engine has no such command */
export function assertVerb(engine: EngineDeclaration, verb: string): void {
  const entry = (engine.verbs as Readonly<Record<string, string | Lack | undefined>>)[verb];
  if (entry !== undefined && isLack(entry)) throw refusal(engine, verb, entry);
}

/** Why an engine cannot do an option; undefined if it can. @param name as for {@link assertOptions} */
export function lackOf(engine: Pick<EngineDeclaration, 'options'>, verb: string, name: string): Lack | undefined {
  return engine.options[`${verb} --${name}`] ?? engine.options[`--${name}`];
}

/**
 * @param names of the options that were given, without hyphens, as {@link optionWords} returns them
 * @throws NOT_SUPPORTED for the first one that the engine cannot do
 */
export function assertOptions(engine: EngineDeclaration, verb: string, names: Iterable<string>): void {
  for (const name of names) {
    const lack = lackOf(engine, verb, name);
    if (lack !== undefined) throw refusal(engine, `${verb} --${name}`, lack);
  }
}

/** Keys of a fleet file whose option has another name. */
const optionOfKey: Readonly<Record<string, string>> = {
  rootSize: 'disk-size',
  disks: 'disk',
  variables: 'var',
  secrets: 'secret',
  sshKeys: 'ssh-key',
};

/**
 * Keys of a fleet in a fleet file count as options of spawn.
 * @throws NOT_SUPPORTED for the first one that the engine cannot do
 */
export function assertKeys(engine: EngineDeclaration, { name, ...keys }: Readonly<Record<string, unknown>> & { name: string }): void {
  for (const [key, value] of Object.entries(keys)) {
    if (value === undefined) continue;
    const option = optionOfKey[key] ?? key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const words of optionWords(option, value)) {
      const lack = lackOf(engine, 'spawn', words);
      const shown = typeof value === 'string' || typeof value === 'boolean' ? `${key}: ${value}` : key;
      if (lack !== undefined) throw refusal(engine, `${shown}" of fleet "${name}`, lack);
    }
  }
}

/** An option and the words of its value, as declarations name them: `wait` and `wait agent`, or `no-start`. */
export function optionWords(name: string, value: unknown): string[] {
  if (value === false) return [`no-${name}`];
  const words = typeof value === 'string' ? value.split(',') : [];
  // A regular expression may contain commas.
  const end = words.findIndex((word) => !/^[a-z][a-z0-9-]*$/.test(word));
  return [name, ...words.slice(0, end < 0 ? undefined : end).map((word) => `${name} ${word}`)];
}

function refusal({ title }: EngineDeclaration, what: string, { why, instead }: Lack): CowherdError {
  return new CowherdError('NOT_SUPPORTED', `"${what}" is not possible on ${title}: ${why}`, { hint: instead });
}
