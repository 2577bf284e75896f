import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withSourcePositions } from '../../../src/cli/source-positions.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const bin = join(root, 'bin', 'run.js');

/** A preload that records the URL of each loaded module, of both module systems. */
const recorder = `
import { appendFileSync } from 'node:fs';
import Module, { register } from 'node:module';
const note = (address) => appendFileSync(process.env.CWT_MODULES, address + '\\n');
register('data:text/javascript,' + encodeURIComponent(\`
  import { appendFileSync } from 'node:fs';
  export async function load(address, context, next) {
    if (address.startsWith('file:')) appendFileSync(process.env.CWT_MODULES, address + '\\\\n');
    return next(address, context);
  }\`));
process.on('exit', () => { for (const path of Object.keys(Module._cache)) note('file://' + path); });
`;

describe('a run of cowherd', () => {
  let scratch: string;
  let modules: string[];

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cwt-startup-'));
    const [preloaded, list] = [join(scratch, 'recorder.mjs'), join(scratch, 'modules')];
    await writeFile(preloaded, recorder);
    const { stdout } = await execa(process.execPath, ['--import', pathToFileURL(preloaded).href, bin, 'list'], {
      env: { COWHERD_STORE: join(scratch, 'store'), CWT_MODULES: list },
    });
    expect(stdout).toMatch('No fleets');
    modules = [...new Set((await readFile(list, 'utf8')).trim().split('\n'))];
  });
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  it('loads its own code from a few bundles', () => {
    const own = modules.filter((address) => address.includes('/dist/') && !address.includes('/node_modules/'));
    expect(own).toContain(pathToFileURL(join(root, 'dist/cli/commands/list.js')).href);
    expect(own.length).toBeLessThan(40);
  });

  it('has no bundle that looks for files beside a module of a package', async () => {
    for (const [name, text] of await sections()) {
      // oclif is told where the package is. Elsewhere, it catches the error.
      if (!name.includes('@oclif/core/')) expect([name, /\b__dirname\b/.test(text)]).toEqual([name, false]);
    }
  });

  it('loads no file of a package', () => {
    const packages = modules.flatMap((address) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(address)?.[1] ?? []);
    expect(packages).toEqual([]);
  });

  it('loads no library that a listing does not need', async () => {
    const names = [...new Set((await sections()).flatMap(([name]) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1] ?? []))];
    expect(names).toEqual(expect.arrayContaining(['@oclif/core', 'execa', 'zod']));
    expect(names.filter((name) => ['handlebars', 'log-update', 'typescript', 'yaml'].includes(name))).toEqual([]);
  });

  it('loads no module of an engine that is not used', async () => {
    const own = (await sections()).map(([name]) => name).filter((name) => name.startsWith('src/'));
    expect(own).toContain('src/open-engine.ts');
    expect(own.filter((name) => name.startsWith('src/engines/'))).toEqual([]);
  });

  it('loads at most 40 files in all', () => {
    expect(modules.length).toBeGreaterThan(10);
    expect(modules.length).toBeLessThanOrEqual(40);
  });

  it('shows source files in a stack trace', async () => {
    const bundle = join(root, 'dist/cli/main.js');
    const lines = (await readFile(bundle, 'utf8')).split('\n');
    const line = lines.findIndex((text) => text.includes('Config.load('));
    const at = `at main (${pathToFileURL(bundle).href}:${line + 1}:${lines[line]?.indexOf('Config.load(')})`;
    const source = (await readFile(join(root, 'src/cli/main.ts'), 'utf8')).split('\n').findIndex((text) => text.includes('Config.load('));
    const place = relative(process.cwd(), join(root, 'src/cli/main.ts'));
    expect(withSourcePositions(`Error: x\n    ${at}\n    at node:internal/main:1:1`)).toMatch(
      new RegExp(`^Error: x\n    at main \\(${place}:${source + 1}:\\d+\\)\n    at node:internal/main:1:1$`),
    );
  });

  /** The modules in the loaded bundles: name and text. */
  async function sections(): Promise<Array<[string, string]>> {
    const bundles = modules.filter((address) => address.startsWith(pathToFileURL(join(root, 'dist')).href));
    const texts = await Promise.all(bundles.map((bundle) => readFile(fileURLToPath(bundle), 'utf8')));
    return texts.flatMap((text) => {
      const [, ...parts] = text.split(/^ *\/\/ ((?:[\w@.-]+\/)+[\w@.-]+\.\w+)$/m);
      return parts.flatMap((name, index): Array<[string, string]> => (index % 2 === 0 ? [[name, parts[index + 1] ?? '']] : []));
    });
  }
});
