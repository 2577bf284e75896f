import { lstat, mkdir, readFile, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bin, guest, Lab } from './lab.js';

/** Links that somebody put into the store: no verb writes by way of them. strace tells every file that a verb or its tools touch. */

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

describe('a store with links in it', () => {
  let lab: Lab;
  let fleet: string;
  let traces = 0;
  const outside = (name: string): string => join(lab.scratch, 'outside', name);

  /** Runs a verb under strace. @returns its exit code, and where it wrote */
  async function traced(...args: string[]): Promise<{ exitCode: number | undefined; said: string; touched: string[] }> {
    const file = join(lab.scratch, `trace-${traces++}`);
    const strace = ['-f', '-y', '-s', '4096', '-qq', '-e', `trace=${[...calls, ...more].join()}`, '-o', file];
    const { exitCode, stdout, stderr } = await execa('strace', [...strace, process.execPath, bin, ...args], {
      env: lab.env,
      reject: false,
    });
    const touched = await writtenIn(await readFile(file, 'utf8'));
    await rm(file);
    return { exitCode, said: stdout + stderr, touched };
  }

  /** A place that may be written to: the store, cowherd's own scratch directory, and what virsh asks a terminal by. */
  const isAllowed = (path: string): boolean =>
    path.startsWith(`${lab.store}/`) ||
    path === lab.store ||
    ['/dev/null', '/dev/tty'].includes(path) ||
    /^\/tmp\/cowherd-\d+-\w{6}(\/|$)/.test(path);

  async function harmless(...args: string[]) {
    const run = await traced(...args);
    expect(run.touched.filter((path) => !isAllowed(path))).toEqual([]);
    expect(await readFile(outside('victim'), 'utf8')).toBe('mine');
    expect((await stat(outside('victim'))).mode & 0o777).toBe(0o644);
    return run;
  }

  beforeAll(async () => {
    lab = await Lab.open();
    fleet = lab.fleet('links');
    await mkdir(outside('room'), { recursive: true });
    await writeFile(outside('victim'), 'mine', { mode: 0o644 });
    const golden = await lab.golden('golden.qcow2');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', '--no-start', '--json', ...guest);
  });
  afterAll(() => lab.close());

  it('writes inside it alone', async () => {
    const { touched, exitCode } = await harmless('reset', fleet);
    expect(exitCode).toBe(0);
    expect(touched.some((path) => path.includes('/overlays/'))).toBe(true);
    // The same trace, held against another list: this test can fail.
    expect(touched.map((path) => path.replace(lab.store, '/elsewhere')).every(isAllowed)).toBe(false);
  });

  it.each(['operation.log', 'fleet.json'])('does not write by way of %s', async (name) => {
    const path = lab.path('fleets', fleet, name);
    const kept = await readFile(path).catch(() => undefined);
    await rm(path, { force: true });
    await symlink(outside('victim'), path);
    await harmless('reset', fleet);
    await rm(path, { force: true });
    if (kept !== undefined) await writeFile(path, kept);
    await rm(lab.path('fleets', fleet, 'operation.json'), { force: true });
  });

  it.each(['overlays', 'logs'])('does nothing in %s where that leads elsewhere', async (room) => {
    const path = lab.path('fleets', fleet, room);
    await rename(path, `${path}.kept`).catch(() => undefined);
    await symlink(outside('room'), path);
    for (const args of [
      ['reset', fleet],
      ['teardown', fleet, '--yes'],
    ]) {
      const { exitCode } = await traced(...args).then(async (run) => {
        expect(run.touched.filter((touched) => !isAllowed(touched))).toEqual([]);
        return run;
      });
      expect(exitCode).toBeOneOf([4, 8]);
    }
    expect(await lstat(path).then((stats) => stats.isSymbolicLink())).toBe(true);
    await rm(path);
    await rename(`${path}.kept`, path).catch(() => undefined);
  });
});

/** Where a trace says that something was written, made, renamed, given away or removed: as it really is, behind all links. */
async function writtenIn(trace: string): Promise<string[]> {
  const found = new Set<string>();
  for (const line of trace.split('\n')) {
    const call = /^\d+\s+(\w+)\((.*)$/.exec(line);
    // What failed has changed nothing.
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
