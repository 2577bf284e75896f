import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab } from '../lab.js';

export const digest = (kind: 'sha256' | 'sha512', content: Buffer): string => createHash(kind).update(content).digest('hex');

/** Files of the store that belong to base images and downloads, without locks. */
export async function filesOf(lab: Lab): Promise<string[]> {
  const names: string[] = [];
  for (const room of ['bases', 'downloads']) {
    const found = await readdir(lab.path(room), { recursive: true, withFileTypes: true }).catch(() => []);
    names.push(
      ...found.filter((entry) => entry.isFile() && !entry.name.endsWith('.lock')).map((entry) => join(entry.parentPath, entry.name)),
    );
  }
  return names.sort();
}

/** Size of the largest part of a download. */
export async function partBytes(lab: Lab): Promise<number> {
  const names = (await readdir(lab.path('downloads')).catch(() => [])).filter((name) => name.endsWith('.part'));
  const sizes = await Promise.all(
    names.map((name) =>
      stat(lab.path('downloads', name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return Math.max(0, ...sizes);
}
