import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runTool } from '../../../src/adapters/process.js';

/** Failing tools, as scripts. */
describe('a tool', () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cwt-process-'));
  });
  afterAll(() => rm(scratch, { recursive: true }));

  async function tool(name: string, script: string): Promise<string> {
    const path = join(scratch, name);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    return path;
  }

  it('that was killed is reported with the signal and where to look', async () => {
    const error = await runTool(await tool('oom', 'kill -9 $$'), ['convert']).catch((cause: unknown) => cause);
    expect(error).toMatchObject({
      code: 'TOOL_FAILED',
      message: expect.stringContaining('SIGKILL'),
      hint: expect.stringContaining('out of memory'),
    });
  });

  it('without output is reported with its exit code', async () => {
    const error = await runTool(await tool('mute', 'exit 7'), []).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ message: expect.stringContaining('exited with 7') });
  });

  it.each([
    ['qemu-img: x: Could not write qcow2 header: No space left on device', 'disk is full'],
    ['qemu-img: error while writing: Disk quota exceeded', 'quota'],
    ['qemu-img: x: Read-only file system', 'read-only'],
    ['qemu-img: x: Too many open files', 'ulimit'],
  ])('that prints %j has a hint', async (text, hint) => {
    const error = await runTool(await tool('full', `echo "${text}" >&2; exit 1`), []).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'TOOL_FAILED', message: expect.stringContaining(text), hint: expect.stringContaining(hint) });
  });

  it('that hangs is killed with its children', async () => {
    const mark = `cwt-mark-${process.pid}`;
    // A wrapper, whose child keeps its output open.
    const path = await tool('wrapper', `trap '' TERM; sh -c 'trap "" TERM; while :; do sleep 1; done' ${mark}; true`);
    const began = performance.now();
    const error = await runTool(path, [], { timeoutMs: 500 }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'TOOL_TIMEOUT', message: expect.stringContaining('0.5 s') });
    expect(performance.now() - began).toBeLessThan(20_000);
    const commands = await Promise.all((await readdir('/proc')).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    expect(commands.filter((command) => command.includes(mark))).toEqual([]);
  });

  it('gets no debug variables, a fixed locale, and an existing TMPDIR', async () => {
    const before = { ...process.env };
    const told = { VIRSH_DEBUG: '0', LIBVIRT_LOG_FILTERS: '1:*', G_DEBUG: 'fatal-warnings', POSIXLY_CORRECT: '', LANGUAGE: 'de' };
    Object.assign(process.env, told, { TMPDIR: '/nonexistent', LIBVIRT_AUTH_FILE: '/etc/auth.conf' });
    try {
      const { stdout } = await runTool('env', []);
      const names = stdout.split('\n').map((line) => line.split('=')[0]);
      for (const name of Object.keys(told)) expect(names).not.toContain(name);
      expect(stdout.split('\n')).toEqual(expect.arrayContaining(['LC_ALL=C', 'TMPDIR=/tmp', 'LIBVIRT_AUTH_FILE=/etc/auth.conf']));
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
      Object.assign(process.env, before);
    }
  });
});
