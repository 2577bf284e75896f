import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import type { ConsoleStream } from '../../ports/dashboard.js';
import { makeScratch } from '../host/scratch.js';
import { openRawTool, runTool } from '../process.js';

const mostBytes = 32 * 1024 * 1024;
const screenshotMs = 20_000;

/** A picture of the screen, in the format that QEMU chooses. */
export async function takeScreenshot(uri: string, domain: string): Promise<Buffer> {
  const directory = await makeScratch();
  try {
    const file = join(directory, 'screen');
    // The limit ends a virsh that is sent more.
    const virsh = ['virsh', '-q', '-c', uri, 'screenshot', '--domain', domain, '--file', file];
    await runTool('prlimit', [`--fsize=${mostBytes}`, '--', ...virsh], { timeoutMs: screenshotMs });
    if ((await stat(file)).size > mostBytes) throw new CowherdError('TOOL_FAILED', `The picture of ${domain} is larger than 32 MiB`);
    return await readFile(file);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Names and URIs are passed by the environment, so that they are never part of the command's text. */
const consoleCommand = 'exec virsh -c "$COWHERD_URI" console --domain "$COWHERD_DOMAIN" $COWHERD_FORCE';

/** virsh console needs a terminal: script(1) gives it one, and connects it with pipes. */
export function openConsole(uri: string, domain: string, force: boolean): ConsoleStream {
  return openRawTool('script', ['-q', '-e', '-f', '-c', consoleCommand, '/dev/null'], {
    env: { COWHERD_URI: uri, COWHERD_DOMAIN: domain, COWHERD_FORCE: force ? '--force' : '', SHELL: '/bin/sh', TERM: 'xterm-256color' },
  });
}
