import { shellWord } from '../../core/quoting.js';

/**
 * Commands in hints and notes repeat --store and --connect of this run, and name its connection to virsh: without them, they would
 * look for the fleet in another store, or for the domain at another daemon. Defaults from files and the environment apply by themselves.
 */

export interface RunFlags {
  /** The names of cowherd's commands, as oclif writes them: `base:add`. */
  commands: readonly string[];
  store?: string | undefined;
  connect?: string | undefined;
}

let ownCommands: RegExp | undefined;
let flags = '';
let virshUri: string | undefined;

const virshCommands =
  /(?<![\w/.-])virsh (?=(?:start|shutdown|destroy|reset|reboot|suspend|resume|define|undefine|dumpxml|edit|list|uri|metadata|managedsave(?:-[a-z]+)?|qemu-monitor-command|(?:net|dom|block|snapshot|checkpoint|detach|vol)[a-z-]+)(?![\w-]))/g;

/** Called once the command line is known. A process runs one command. */
export function repeatFlags({ commands, store, connect }: RunFlags): void {
  flags = [
    ...(store === undefined ? [] : [` --store ${shellWord(store)}`]),
    ...(connect === undefined ? [] : [` --connect ${shellWord(connect)}`]),
  ].join('');
  // Flags come after both words of "base add".
  const names = commands.filter((id) => !commands.some((other) => other.startsWith(`${id}:`))).map((id) => id.replaceAll(':', ' '));
  ownCommands = flags === '' ? undefined : new RegExp(`(?<![\\w/.-])cowherd (?:${names.join('|')})(?![\\w-]| --(?:store|connect) )`, 'g');
}

/** Called once the connection is known. @param uri the connection of this run; `byDefault`: the one that virsh would use */
export function nameConnection(uri: string, byDefault: string): void {
  virshUri = uri === byDefault ? undefined : uri;
}

/** Adds the flags to the commands in a text for people. Applying it again changes nothing. */
export function withFlags(text: string): string {
  const own = ownCommands === undefined ? text : text.replace(ownCommands, (command) => command + flags);
  return virshUri === undefined ? own : own.replace(virshCommands, `virsh -c ${shellWord(virshUri)} `);
}

const told = new Set(['hint', 'details', 'finishWith', 'notes', 'warning']);

/** Adds the flags to the commands in the hints, details and notes of a JSON document. */
export function withFlagsIn(document: unknown): unknown {
  if (ownCommands === undefined && virshUri === undefined) return document;
  return changed(document, false);
}

function changed(value: unknown, isTold: boolean): unknown {
  if (typeof value === 'string') return isTold ? withFlags(value) : value;
  if (Array.isArray(value)) return value.map((one) => changed(one, isTold));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, changed(one, told.has(key))]));
}
