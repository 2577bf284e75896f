import type { Asked } from './world.js';

/** Completes the word under the cursor. */

export interface FlagShape {
  name: string;
  char?: string;
  type: 'boolean' | 'option';
  description?: string;
  options?: readonly string[];
  allowNo?: boolean;
  multiple?: boolean;
  hidden?: boolean;
}

export interface CommandShape {
  id: string;
  summary?: string;
  aliases?: readonly string[];
  hidden?: boolean;
  strict?: boolean;
  args: Record<string, { name: string; options?: readonly string[] }>;
  flags: Record<string, FlagShape>;
}

/** Names to complete, see world.ts. */
export interface World {
  fleets(asked: Asked): string[];
  bases(asked: Asked): string[];
  /** Names and aliases of the built-in catalog. */
  images(): string[];
  members(asked: Asked, fleet: string): string[];
  libvirtNames(kind: 'networks' | 'domains'): string[];
  /** Clouds of clouds.yaml. */
  clouds(): string[];
}

/** `text` replaces the whole word under the cursor. */
export interface Candidate {
  text: string;
  about?: string | undefined;
}

const stages = ['running', 'console=', 'address', 'agent', 'ssh', 'cloud-init'];
const shells = ['bash', 'zsh', 'fish'];

/**
 * @param words the words after the program name; the last one is under the cursor and may be empty
 * @returns an empty list for files and anything else that the shell completes itself
 */
export function complete(words: readonly string[], commands: readonly CommandShape[], world: World): Candidate[] {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  // Words after it are for the guest.
  if (before.includes('--')) return [];
  const { command, rest } = findCommand(before, commands);
  const found = command === undefined ? commandNames(before, commands) : ofCommand(command, rest, current, world);
  return found.filter(({ text }) => text.startsWith(current));
}

function namesOf({ id, aliases = [] }: CommandShape): string[] {
  return [id, ...aliases];
}

function findCommand(before: readonly string[], commands: readonly CommandShape[]): { command?: CommandShape; rest: readonly string[] } {
  for (const length of [2, 1]) {
    const id = before.slice(0, length).join(':');
    const command = before.length < length ? undefined : commands.find((one) => namesOf(one).includes(id));
    if (command !== undefined) return { command, rest: before.slice(length) };
  }
  return { rest: before };
}

function commandNames(before: readonly string[], commands: readonly CommandShape[]): Candidate[] {
  const [topic] = before[0] === 'help' ? before.slice(1) : before;
  const names = new Map<string, string | undefined>();
  for (const command of commands) {
    if (command.hidden === true) continue;
    for (const id of namesOf(command)) {
      const [first = '', second] = id.split(':');
      if (topic === undefined) names.set(first, second === undefined ? command.summary : undefined);
      else if (first === topic && second !== undefined) names.set(second, command.summary);
    }
  }
  if (topic === undefined && before.length === 0) names.set('help', 'Show help for a command.');
  return [...names].map(([text, about]) => ({ text, about }));
}

function ofCommand(command: CommandShape, rest: readonly string[], current: string, world: World): Candidate[] {
  const flags = Object.values(command.flags);
  const given = readWords(rest, flags);
  const asked = { store: given.values.get('store'), connect: given.values.get('connect') };
  const assigned = /^--([a-z0-9-]+)=/.exec(current);
  if (assigned !== null) {
    const flag = flags.find(({ name }) => name === assigned[1]);
    return valuesOf(flag, asked, world, current.slice(assigned[0].length)).map((text) => ({ text: `${assigned[0]}${text}` }));
  }
  if (given.pending !== undefined) return valuesOf(given.pending, asked, world, current).map((text) => ({ text }));
  if (current.startsWith('-')) {
    return flags
      .filter(({ name, hidden, multiple }) => hidden !== true && (multiple === true || !given.values.has(name)))
      .flatMap(({ name, allowNo, description }) => [
        { text: `--${name}`, about: description },
        ...(allowNo === true ? [{ text: `--no-${name}`, about: description }] : []),
      ]);
  }
  return argumentsOf(command, given.words, current, asked, world).map((text) => ({ text }));
}

/** Parses the words of a command. `pending` is the flag whose value is under the cursor. */
function readWords(
  rest: readonly string[],
  flags: readonly FlagShape[],
): { words: string[]; values: Map<string, string>; pending: FlagShape | undefined } {
  const words: string[] = [];
  const values = new Map<string, string>();
  let pending: FlagShape | undefined;
  for (const word of rest) {
    if (pending !== undefined) {
      values.set(pending.name, word);
      pending = undefined;
      continue;
    }
    const match = /^(?:--([a-z0-9-]+)|-([a-zA-Z]))(?:=(.*))?$/.exec(word);
    if (match === null) {
      words.push(word);
      continue;
    }
    const flag = flags.find(
      ({ name, char, allowNo }) =>
        name === match[1] || (match[2] !== undefined && char === match[2]) || (allowNo === true && `no-${name}` === match[1]),
    );
    if (flag === undefined) continue;
    if (flag.type === 'option' && match[3] === undefined) pending = flag;
    else values.set(flag.name, match[3] ?? '');
  }
  return { words, values, pending };
}

function valuesOf(flag: FlagShape | undefined, asked: Asked, world: World, current: string): string[] {
  if (flag === undefined) return [];
  if (flag.options !== undefined) return [...flag.options];
  switch (flag.name) {
    case 'base':
      return world.bases(asked);
    case 'network':
      return ['none', 'user', 'bridge=', ...world.libvirtNames('networks').map((network) => `network=${network}`)];
    case 'start-network':
      return world.libvirtNames('networks');
    case 'from-domain':
    case 'from-running':
      return world.libvirtNames('domains');
    case 'wait': {
      const done = current.slice(0, current.lastIndexOf(',') + 1);
      const left = stages.filter((stage) => !done.split(',').includes(stage)).map((stage) => `${done}${stage}`);
      return done === '' ? ['auto', ...left] : left;
    }
    case 'connect':
      return ['qemu:///system', 'qemu:///session', ...world.clouds().map((cloud) => `openstack://${cloud}`), 'openstack:///'];
    default:
      return [];
  }
}

function argumentsOf(command: CommandShape, words: readonly string[], current: string, asked: Asked, world: World): string[] {
  const names = Object.values(command.args);
  const argument = names[words.length] ?? (command.strict === false ? names.at(-1) : undefined);
  if (argument === undefined) return [];
  if (argument.options !== undefined) return [...argument.options];
  switch (argument.name) {
    case 'base':
      return world.bases(asked);
    case 'image':
      return world.images().filter((image) => !words.includes(image));
    case 'domain':
      return world.libvirtNames('domains');
    case 'shell':
      return shells;
    case 'member':
      return membersOf(words.length > 0 ? words : world.fleets(asked), asked, world);
    case 'source':
    case 'destination':
      return current === '' ? [] : world.fleets(asked).map((fleet) => `${fleet}:`);
    case 'fleet':
    case 'fleets':
    case 'members': {
      const fleets = world.fleets(asked);
      const meant = fleets.filter((fleet) => words.includes(fleet) || current.startsWith(`${fleet}-`));
      return [...fleets.filter((fleet) => !words.includes(fleet)), ...membersOf(meant, asked, world)];
    }
    default:
      return [];
  }
}

function membersOf(fleets: readonly string[], asked: Asked, world: World): string[] {
  return fleets.flatMap((fleet) => world.members(asked, fleet));
}
