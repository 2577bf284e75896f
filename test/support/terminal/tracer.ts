import { readFile, realpath, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { bin, type Lab } from '../lab.js';

/** Runs commands under strace, which shows every file that cowherd or its tools write, create, rename, chown or remove. */

const calls = [
  'open',
  'openat',
  'creat',
  'rename',
  'renameat',
  'renameat2',
  'unlink',
  'unlinkat',
  'chmod',
  'fchmodat',
  'chown',
  'lchown',
  'fchownat',
];
const more = ['truncate', 'link', 'linkat', 'symlink', 'symlinkat', 'mkdir', 'mkdirat', 'rmdir'];

export interface TracedRun {
  exitCode: number | undefined;
  /** Changed files. */
  touched: string[];
  /** Changed files that are neither in the store nor temporary files of the run. */
  strange: string[];
}

let traces = 0;

export async function traced(lab: Lab, ...args: string[]): Promise<TracedRun> {
  const file = join(lab.scratch, `trace-${traces++}`);
  const strace = ['-f', '-y', '-s', '4096', '-qq', '-e', `trace=${[...calls, ...more].join()}`, '-o', file];
  const { exitCode } = await execa('strace', [...strace, process.execPath, bin, ...args], { env: lab.env, reject: false });
  const touched = await writtenIn(await readFile(file, 'utf8'));
  await rm(file);
  return { exitCode, touched, strange: touched.filter((path) => !isAllowed(lab, path)) };
}

/** Allowed paths: the store, cowherd's temporary directory, and the terminal devices of virsh. */
export function isAllowed(lab: Lab, path: string): boolean {
  return (
    path.startsWith(`${lab.store}/`) ||
    path === lab.store ||
    ['/dev/null', '/dev/tty'].includes(path) ||
    /^\/tmp\/cowherd-\d+-\w{6}(\/|$)/.test(path)
  );
}

/** Paths in a trace that were written, created, renamed, chowned or removed, with all links resolved. */
async function writtenIn(trace: string): Promise<string[]> {
  const found = new Set<string>();
  for (const line of trace.split('\n')) {
    const call = /^\d+\s+(\w+)\((.*)$/.exec(line);
    // Failed calls have changed nothing.
    if (call === null || / = -1 /.test(line)) continue;
    const [, name = '', rest = ''] = call;
    if (/^(open|openat|creat)$/.test(name)) {
      if (name !== 'creat' && !/O_(WRONLY|RDWR|CREAT|TRUNC)/.test(rest)) continue;
      const opened = / = \d+<([^>]*)>/.exec(rest)?.[1] ?? /"([^"]*)"/.exec(rest)?.[1] ?? '';
      found.add(opened.replace(/ \(deleted\)$/, ''));
      continue;
    }
    for (const [, path = ''] of rest.matchAll(/"([^"]*)"/g))
      found.add(join(await realpath(dirname(path)).catch(() => dirname(path)), path.split('/').at(-1) ?? ''));
  }
  return [...found];
}
