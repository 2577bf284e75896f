import type { Ports } from '../../ports/index.js';
import type { FleetReads } from '../fleet/access.js';
import { assertOn, findMember, offError } from '../fleet/members.js';
import { commandOf } from './exec.js';
import { localGuests, type OpenGuests } from './guests.js';

/** Runs ssh on the terminal. @param command empty for a login shell @returns the exit code of ssh or the command */
export function login(ports: Ports, words: readonly string[], command: readonly string[]): Promise<number> {
  return loginTo(ports, localGuests(ports), words, command);
}

/** As {@link login}, on any engine. */
export async function loginTo(
  ports: FleetReads & Pick<Ports, 'remote'>,
  open: OpenGuests,
  words: readonly string[],
  command: readonly string[],
): Promise<number> {
  const { record, member } = await findMember(ports, words);
  const { running, endpoints } = await open(record.name);
  if (!running.has(member.name)) throw offError(member);
  const endpoint = await endpoints.ssh(member);
  return ports.remote.interactive(endpoint, command.length === 0 ? [] : commandOf(command));
}

/** Connects the terminal to the member's serial console until Ctrl-]. @returns virsh's exit code */
export async function openConsole(ports: Ports, words: readonly string[]): Promise<number> {
  const found = await findMember(ports, words);
  await assertOn(ports, found);
  return ports.hypervisor.attachConsole(found.member.name);
}
