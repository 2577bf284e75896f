import type { Ports } from '../../ports/index.js';
import { assertOn, findMember } from '../fleet/members.js';
import { Endpoints } from './endpoints.js';
import { commandOf } from './exec.js';

/** Runs ssh on the terminal. @param command empty for a login shell @returns the exit code of ssh or the command */
export async function login(ports: Ports, words: readonly string[], command: readonly string[]): Promise<number> {
  const found = await findMember(ports, words);
  await assertOn(ports, found);
  const endpoint = await new Endpoints(ports, found.record).ssh(found.member);
  return ports.remote.interactive(endpoint, command.length === 0 ? [] : commandOf(command));
}

/** Connects the terminal to the member's serial console until Ctrl-]. @returns virsh's exit code */
export async function openConsole(ports: Ports, words: readonly string[]): Promise<number> {
  const found = await findMember(ports, words);
  await assertOn(ports, found);
  return ports.hypervisor.attachConsole(found.member.name);
}
