import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { makeScratch } from '../host/scratch.js';
import { runTool } from '../process.js';

const startMs = 15_000;

/**
 * Opens a private file that leads to the URL: every user can read the arguments of processes, and could use the token in the URL first.
 */
export async function openBrowser(url: string): Promise<void> {
  const directory = await makeScratch();
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'cowherd.html');
  await writeFile(
    file,
    `<!DOCTYPE html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>cowherd</title><meta http-equiv="refresh" content="0;url=${url}">\n`,
    { mode: 0o600 },
  );
  await runTool('xdg-open', [pathToFileURL(file).href], { timeoutMs: startMs });
}
