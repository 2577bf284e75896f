import { accessSync, constants } from 'node:fs';

/**
 * The working directory for children, even if it was deleted: relative paths then fail, as they should. If this user may not enter
 * it, as in root's home after sudo -u, children start elsewhere: their paths are absolute.
 */
export function workingDirectory(): string {
  const link = '/proc/self/cwd';
  for (const directoryOf of [() => process.cwd(), () => link]) {
    try {
      const directory = directoryOf();
      accessSync(directory, constants.X_OK);
      return directory;
    } catch {
      // The next one.
    }
  }
  return '/';
}
