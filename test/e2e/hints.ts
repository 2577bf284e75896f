import { join } from 'node:path';
import { execa } from 'execa';
import { bin, type Lab } from './lab.js';

/**
 * Does what a hint says, to the letter. A hint that is not a command is followed by the test itself.
 * @param hint with commands of cowherd, virsh, qemu-img or the system in it
 */
export async function follow(lab: Lab, hint: string): Promise<string[]> {
  const commands = commandsIn(hint);
  if (commands.length === 0) throw new Error(`no command in: ${hint}`);
  for (const command of commands) await run(lab, command);
  return commands;
}

const tools = ['cowherd', 'virsh', 'qemu-img', 'chmod', 'chgrp', 'chown', 'install', 'find', 'mv'];

/** The first way that a hint gives: its commands up to the first "or", one after the other. */
export function commandsIn(hint: string): string[] {
  const words = tools.join('|');
  const quoted = [...hint.matchAll(new RegExp(`"((?:${words}) [^"]+)"`, 'g'))].map(([, command = '']) => command);
  if (quoted.length > 0) return quoted;
  const bare = new RegExp(`(?:^|[:;] |&& |\\()((?:sudo )?(?:${words}) [^;)]*?)(?=$|;|\\)| \\(|, |\\. | && )`, 'g');
  return [...hint.matchAll(bare)].map(([, command = '']) => command.replace(/\.$/, '').replace(/^sudo /, ''));
}

/** In the words of a shell, with this repository's cowherd and the lab's store and connection. */
export async function run(lab: Lab, command: string): Promise<string> {
  const shell = `cowherd() { ${process.execPath} ${bin} "$@"; }; sudo() { "$@"; }; ${command}`;
  const { exitCode, stdout, stderr } = await execa('bash', ['-c', shell], { cwd: join(lab.scratch), env: lab.env, reject: false });
  if (exitCode !== 0) throw new Error(`${command}\nexited ${exitCode}\n${stdout}\n${stderr}`);
  return stdout;
}
