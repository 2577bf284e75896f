import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect } from 'vitest';
import { type Answer, bin, type Lab } from './lab.js';

const fakes = dirname(fileURLToPath(new URL('../fakes/virsh', import.meta.url)));

/** See test/fakes/virsh. */
export interface Fault {
  match: string;
  nth?: number;
  times?: number;
  do: 'hang' | 'slow' | 'warn' | 'die' | 'cut' | 'garbage' | 'error' | 'then';
  text?: string;
  ms?: number;
}

let runs = 0;

/** Runs cowherd with a virsh that fails at some calls, and checks that no process remains. @param timeout for an answer of libvirt */
export async function faulty(lab: Lab, fault: Fault, timeout: string, ...args: string[]): Promise<Answer> {
  const mark = `${lab.id}-${++runs}`;
  const env = {
    ...lab.env,
    PATH: `${fakes}:${process.env.PATH}`,
    FAKE_VIRSH: JSON.stringify({ nth: 1, ...fault, count: join(lab.scratch, `count-${runs}`) }),
    COWHERD_LIBVIRT_TIMEOUT: timeout,
    CWT_MARK: mark,
  };
  const { exitCode = -1, stdout, stderr } = await execa(process.execPath, [bin, ...args, '--json'], { env, reject: false });
  expect(await marked(mark)).toEqual([]);
  return { exitCode, stdout, stderr, json: JSON.parse(stdout) };
}

/** Commands of processes left by a run. */
async function marked(mark: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      return environment.split('\0').includes(`CWT_MARK=${mark}`) ? [await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')] : [];
    }),
  );
  return found.flat().filter((command) => command !== '');
}
