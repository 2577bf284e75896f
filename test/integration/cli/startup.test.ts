import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

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
    const bundles = modules.filter((address) => address.startsWith(pathToFileURL(join(root, 'dist')).href));
    for (const bundle of bundles) expect(await readFile(fileURLToPath(bundle), 'utf8')).not.toMatch(/\b__dirname\b/);
  });

  it('loads no file of a package other than oclif and its dependencies', () => {
    const packages = new Set(modules.flatMap((address) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(address)?.[1] ?? []));
    expect([...packages]).toContain('@oclif/core');
    const heavy = ['execa', 'fast-xml-parser', 'handlebars', 'source-map', 'yaml', 'zod', 'log-update', 'write-file-atomic'];
    expect(heavy.filter((name) => packages.has(name))).toEqual([]);
  });

  it('loads at most 300 files in all', () => {
    expect(modules.length).toBeGreaterThan(50);
    expect(modules.length).toBeLessThan(300);
  });
});
