import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../host/package-root.js';
import { isMissing, storeError } from '../store/files/files.js';

/** The built page; empty if it was not built. */
export async function readPageFiles(): Promise<Map<string, Buffer>> {
  const directory = fileURLToPath(new URL('dist/dashboard/web/', packageRoot));
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const read = await Promise.all(files.map(async (path) => [relative(directory, path), await readFile(path)] as const));
    return new Map(read);
  } catch (cause) {
    if (isMissing(cause)) return new Map();
    throw storeError(`read ${directory}`, cause);
  }
}
