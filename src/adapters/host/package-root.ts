import { existsSync } from 'node:fs';

/** The directory of cowherd's package. Searched for, since modules in dist/ are bundled and not at the depth of their sources in src/. */
export const packageRoot: URL = findRoot(new URL('..', import.meta.url));

function findRoot(directory: URL): URL {
  if (existsSync(new URL('package.json', directory))) return directory;
  const parent = new URL('..', directory);
  if (parent.href === directory.href) throw new Error(`no package.json above ${import.meta.url}`);
  return findRoot(parent);
}
