import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, rename, unlink } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import type { SessionKeys } from '../../ports/dashboard.js';
import { home } from '../host/config-files.js';

const fileSchema = z.object({
  version: z.literal(1),
  secret: z.string().regex(/^[0-9a-f]{64}$/),
  prefix: z.string().regex(/^[0-9a-f]{32}$/),
});

const mostBytes = 4096;

/** Reads the keys, or creates them. Where no file of this user alone is possible, they last as long as the process. */
export async function sessionKeys(): Promise<SessionKeys & { isKept: boolean }> {
  const path = join(stateDirectory(), 'dashboard.json');
  const found = await readKeys(path).catch(() => undefined);
  if (found !== undefined) return { ...found, isKept: true };
  const made: SessionKeys = { secret: randomBytes(32), prefix: randomBytes(16).toString('hex') };
  const isKept = await writeKeys(path, made).then(
    () => true,
    () => false,
  );
  return { ...made, isKept };
}

/** By the XDG specification, a relative path is invalid. */
function stateDirectory(): string {
  const { XDG_STATE_HOME: directory = '' } = process.env;
  return join(isAbsolute(directory) ? directory : join(home(), '.local', 'state'), 'cowherd');
}

/** Only a file that no other user could read or write. */
async function readKeys(path: string): Promise<SessionKeys | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stats = await handle.stat();
    const isOwn = stats.isFile() && stats.uid === process.getuid?.() && (stats.mode & 0o077) === 0 && stats.size <= mostBytes;
    if (!isOwn) return undefined;
    const { secret, prefix } = fileSchema.parse(JSON.parse(await handle.readFile('utf8')));
    return { secret: Buffer.from(secret, 'hex'), prefix };
  } finally {
    await handle.close();
  }
}

async function writeKeys(path: string, { secret, prefix }: SessionKeys): Promise<void> {
  const directory = join(path, '..');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // With sudo, HOME may be that of the caller: root would leave a directory there that the caller cannot use.
  if ((await lstat(directory)).uid !== process.getuid?.()) throw new Error('the directory is of another user');
  const staged = `${path}.${randomBytes(6).toString('hex')}`;
  const handle = await open(staged, 'wx', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify({ version: 1, secret: secret.toString('hex'), prefix })}\n`);
    await handle.close();
    await rename(staged, path);
  } catch (error) {
    await unlink(staged).catch(() => undefined);
    throw error;
  }
}
