// Part of the build: bundles src and its packages into dist/*.js. A command then loads a dozen files instead of 600, in half the time.
// The entry points are named in package.json and bin/run.js; shared modules are in dist/chunks.
import { readdir, readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { exports, oclif } = JSON.parse(await readFile(posix.join(root, 'package.json'), 'utf8'));
const bin = await readFile(posix.join(root, 'bin/run.js'), 'utf8');
const named: string[] = [
  exports['.'].default,
  oclif.helpClass,
  ...Object.values<string>(oclif.hooks),
  ...[...bin.matchAll(/'\.\.\/(dist\/[^']+)'/g)].map(([, path = '']) => path),
];
const sourceOf = (path: string): string => posix.normalize(path).replace(/^dist\//, 'src/');
const commandDirectory = sourceOf(oclif.commands);
const commands = await readdir(posix.join(root, commandDirectory), { recursive: true });

/** Packages of oclif that cowherd never uses: for animations, patterns of names, configuration files, and a check of oclif's own package.json. */
const unusedByOclif: Record<string, string> = {
  'cli-spinners': 'module.exports = { dots2: { frames: [] }, line: { frames: [] } };',
  lilconfig: 'module.exports = {};',
  // The plugins in package.json are named in full.
  minimatch: 'module.exports = { minimatch: (name, pattern) => name === pattern };',
  semver: 'module.exports = { satisfies: () => true };',
  tinyglobby: 'module.exports = {};',
};

/** Replaces these, zod's translations, and source maps of Handlebars templates. */
const withoutUnused: Plugin = {
  name: 'without-unused',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(\.\.\/locales\/index\.js|source-map)$/ }, ({ path }) => ({ path, namespace: 'unused' }));
    onResolve({ filter: new RegExp(`^(${Object.keys(unusedByOclif).join('|')})$`) }, ({ path, importer }) =>
      importer.includes('/@oclif/core/') ? { path, namespace: 'unused' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'unused' }, ({ path }) => ({ contents: unusedByOclif[path] ?? 'export {};' }));
  },
};

/** Variables that CommonJS packages expect in each file. */
const commonJs = `import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(import.meta.url);
const __filename = import.meta.filename ?? new URL(import.meta.url).pathname;`;

await build({
  absWorkingDir: root,
  entryPoints: [
    ...named.map((path) => `${sourceOf(path).replace(/\.js$/, '')}.ts`),
    ...commands.filter((file) => file.endsWith('.ts')).map((file) => posix.join(commandDirectory, file)),
  ],
  outbase: 'src',
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.18',
  // Loaded only by "cowherd help" and in development.
  external: ['@oclif/plugin-help', 'typescript'],
  banner: { js: commonJs },
  plugins: [withoutUnused],
  sourcemap: 'linked',
  sourcesContent: false,
  logLevel: 'warning',
});
