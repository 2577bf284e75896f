import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import type { OpenIn } from '../../core/image/open-elsewhere.js';

const atOnce = 32;
const most = 4;

/**
 * Processes that have a file open, among those whose descriptors this user can see. Never throws, since it only improves a message.
 * @param proc where procfs is
 */
export async function processesWith(path: string, proc = '/proc'): Promise<OpenIn[]> {
  const target = await realpath(path).catch(() => path);
  const pids = (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const found: OpenIn[] = [];
  for (let from = 0; from < pids.length && found.length < most; from += atOnce) {
    const holders = await Promise.all(
      pids.slice(from, from + atOnce).map(async (pid) => ((await hasOpen(proc, pid, target)) ? [pid] : [])),
    );
    for (const pid of holders.flat()) found.push({ pid: Number(pid), name: await nameOf(proc, pid) });
  }
  return found.slice(0, most);
}

async function hasOpen(proc: string, pid: string, target: string): Promise<boolean> {
  const directory = `${proc}/${pid}/fd`;
  for (const descriptor of await readdir(directory).catch(() => []))
    if ((await readlink(`${directory}/${descriptor}`).catch(() => '')) === target) return true;
  return false;
}

async function nameOf(proc: string, pid: string): Promise<string> {
  return (await readFile(`${proc}/${pid}/comm`, 'utf8').catch(() => 'a process')).trim();
}
