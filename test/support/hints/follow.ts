import { join } from 'node:path';
import { execa } from 'execa';
import { bin, type Lab } from '../lab.js';

/** Where commands run: their directory and environment. */
export type Place = Pick<Lab, 'scratch' | 'env'>;

/**
 * Runs the commands in a hint literally. The test itself follows hints without a command.
 * @param hint with commands of cowherd, virsh, qemu-img or the system
 * @param isAsked selects commands, if the hint says how to find out which one is right
 */
export async function follow(lab: Place, hint: string, isAsked: (command: string) => boolean = () => true): Promise<string[]> {
  const commands = commandsIn(hint).filter(isAsked);
  if (commands.length === 0) throw new Error(`no command in: ${hint}`);
  for (const command of commands) await run(lab, command);
  return commands;
}

const tools = ['kill', 'cowherd', 'virsh', 'qemu-img', 'chmod', 'chgrp', 'chown', 'install', 'find', 'mv'];

/** The commands of the first alternative in a hint, in order: in quotes, or after a colon up to the end of the sentence. */
export function commandsIn(hint: string): string[] {
  const [first = ''] = hint.split(/\. Or |, or /);
  const words = tools.join('|');
  const pattern = new RegExp(`"((?:${words}) [^"]+)"|(?:^|[:;] |&& |\\()((?:sudo )?(?:${words}) [^;)]*?)(?=$|;|\\)|, |\\. | && )`, 'g');
  return [...first.matchAll(pattern)].map(([, quoted, bare = '']) => (quoted ?? bare).replace(/\.$/, '').replace(/^sudo /, ''));
}

/** Runs a shell command with this repository's cowherd and the lab's store and connection. */
export async function run(lab: Place, command: string): Promise<string> {
  const shell = `cowherd() { ${process.execPath} ${bin} "$@"; }; sudo() { "$@"; }; ${command}`;
  const { exitCode, stdout, stderr } = await execa('bash', ['-c', shell], { cwd: join(lab.scratch), env: lab.env, reject: false });
  if (exitCode !== 0) throw new Error(`${command}\nexited ${exitCode}\n${stdout}\n${stderr}`);
  return stdout;
}
