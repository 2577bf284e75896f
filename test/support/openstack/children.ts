import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { execa } from 'execa';
import type { ChildTask } from './kill-child.js';

export interface ChildResult {
  signal: string | undefined;
  outcome: any;
  error: { code?: string; message?: string; hint?: string } | undefined;
}

const killer = fileURLToPath(new URL('../../fakes/kill-at.mjs', import.meta.url));

/** Variables that CommonJS packages expect in the bundle. */
const commonJs = `import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(import.meta.url);
const __filename = new URL(import.meta.url).pathname;
const __dirname = new URL('.', import.meta.url).pathname;`;

/** Starts commands of the engine in processes of their own. They are bundled once: loading the sources would take seconds each time. */
export class Children {
  private constructor(
    private readonly directory: string,
    private readonly script: string,
  ) {}

  static async prepare(): Promise<Children> {
    // Below the package, where the bundle finds the templates.
    const root = fileURLToPath(new URL('../../..', import.meta.url));
    const directory = await mkdtemp(join(root, 'node_modules', '.cwt-children-'));
    const script = join(directory, 'child.mjs');
    await build({
      ...{ entryPoints: [fileURLToPath(new URL('./kill-child.ts', import.meta.url))], outfile: script, bundle: true },
      ...{ format: 'esm', platform: 'node', target: 'node20.18', logLevel: 'warning', banner: { js: commonJs } },
    });
    return new Children(directory, script);
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  /**
   * @param onStart called with a function that kills the process as the kernel does, with SIGKILL
   * @param variables of kill-at.mjs, which kills it at a change of its files
   */
  async run(
    task: ChildTask,
    { onStart = () => undefined, variables }: { onStart?: (kill: () => void) => void; variables?: Record<string, string> } = {},
  ): Promise<ChildResult> {
    const preload = variables === undefined ? [] : ['--import', killer];
    const child = execa(process.execPath, [...preload, this.script, JSON.stringify(task)], { reject: false, env: variables ?? {} });
    onStart(() => child.kill('SIGKILL'));
    const { signal, stdout, stderr } = await child;
    if (signal === undefined && !stdout.startsWith('{')) throw new Error(`the command ended without a result: ${stderr}`);
    const said = signal === undefined ? JSON.parse(stdout) : {};
    return { signal, outcome: said.outcome, error: said.error };
  }
}
