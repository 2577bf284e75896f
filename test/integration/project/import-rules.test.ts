import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const config = join(root, '.dependency-cruiser.mjs');

/** A module with a forbidden import, and the rule that forbids it. */
const forbidden: ReadonlyArray<readonly [file: string, imports: string, rule: string]> = [
  ['src/core/a.ts', '../services/target.js', 'core-imports'],
  ['src/core/image/deep/b.ts', '../../../adapters/target.js', 'core-imports'],
  ['src/core/c.ts', '../ports/index.js', 'core-imports'],
  ['src/core/image/d.ts', '../../ports/target.js', 'core-imports'],
  ['src/core/e.ts', '../host.js', 'core-imports'],
  ['src/core/f.ts', 'node:fs', 'core-io'],
  ['src/core/image/g.ts', 'node:fs/promises', 'core-io'],
  ['src/core/image/h.ts', 'node:child_process', 'core-io'],
  ['src/core/i.ts', 'node:timers/promises', 'core-io'],
  ['src/core/image/j.ts', 'write-file-atomic', 'core-packages'],
  ['src/ports/index.ts', '../services/target.js', 'ports-imports'],
  ['src/ports/deep/a.ts', '../../adapters/target.js', 'ports-imports'],
  ['src/ports/memory.ts', 'node:fs', 'ports-io'],
  ['src/services/a.ts', '../adapters/target.js', 'services-imports'],
  ['src/services/clone/deep/b.ts', '../../../adapters/target.js', 'services-imports'],
  ['src/services/clone/c.ts', '../../host.js', 'services-imports'],
  ['src/services/clone/d.ts', '../../cli/target.js', 'services-imports'],
  ['src/services/clone/e.ts', '../../cli/commands/target.js', 'services-imports'],
  ['src/services/f.ts', 'node:fs', 'services-io'],
  ['src/services/clone/g.ts', 'node:fs/promises', 'services-io'],
  ['src/services/clone/h.ts', 'node:child_process', 'services-io'],
  ['src/services/clone/i.ts', '@oclif/core', 'services-packages'],
  ['src/adapters/a.ts', '../services/target.js', 'adapters-imports'],
  ['src/adapters/store/b.ts', '../../services/target.js', 'adapters-imports'],
  ['src/adapters/store/c.ts', '../../cli/target.js', 'adapters-imports'],
  ['src/adapters/store/d.ts', '@oclif/core', 'adapters-packages'],
  ['src/adapters/e.ts', 'node:child_process', 'processes'],
  ['src/adapters/store/f.ts', 'node:child_process', 'processes'],
  ['src/adapters/store/g.ts', 'execa', 'process-packages'],
  ['src/engines/nova/a.ts', '../../adapters/target.js', 'engines-imports'],
  ['src/engines/nova/b.ts', '../../cli/target.js', 'engines-imports'],
  ['src/engines/nova/api/c.ts', '../../other/target.js', 'engines-imports'],
  ['src/engines/nova/d.ts', '@oclif/core', 'engines-packages'],
  ['src/engines/nova/api/e.ts', 'node:child_process', 'processes'],
  ['src/engines/nova/core/f.ts', '../target.js', 'engine-core-imports'],
  ['src/engines/nova/core/g.ts', '../../../ports/target.js', 'engine-core-imports'],
  ['src/engines/nova/core/h.ts', 'node:fs/promises', 'engine-core-io'],
  ['src/engines/nova/core/i.ts', 'node:https', 'engine-core-io'],
  ['src/engines/nova/core/j.ts', 'p-limit', 'engine-core-packages'],
  ['src/cli/commands/j.ts', '../../engines/nova/target.js', 'engines-wiring'],
  ['src/services/l.ts', '../engines/nova/target.js', 'engines-wiring'],
  ['src/cli/commands/a.ts', '../../adapters/target.js', 'adapters-wiring'],
  ['src/cli/commands/base/b.ts', '../../../adapters/target.js', 'adapters-wiring'],
  ['src/cli/render/c.ts', '../../adapters/target.js', 'adapters-wiring'],
  ['src/cli/commands/base/d.ts', 'node:fs', 'front-end-io'],
  ['src/cli/commands/base/e.ts', 'node:fs/promises', 'front-end-io'],
  ['src/cli/render/f.ts', 'node:child_process', 'processes'],
  ['src/cli/commands/base/g.ts', 'execa', 'process-packages'],
  ['src/cli/commands/base/h.ts', 'fast-xml-parser', 'front-end-packages'],
  ['src/cli/i.ts', './commands/target.js', 'commands-imports'],
  ['src/services/j.ts', 'vitest', 'no-dev-dependencies'],
  ['src/services/k.ts', './missing.js', 'no-unresolved'],
  ['src/services/cycle/one.ts', './two.js', 'no-cycles'],
  ['src/dashboard/web/a.ts', '../../services/target.js', 'page-imports'],
  ['src/dashboard/web/b.ts', 'node:path', 'page-node'],
  ['src/dashboard/server/a.ts', '../../adapters/target.js', 'dashboard-imports'],
  ['src/dashboard/server/live/b.ts', '../../../cli/target.js', 'dashboard-imports'],
  ['src/dashboard/server/c.ts', 'node:fs', 'dashboard-io'],
];

/** What each layer may import. */
const allowed: ReadonlyArray<readonly [file: string, imports: string]> = [
  ['src/cli/commands/good.ts', '../../services/target.js'],
  ['src/services/clone/good.ts', '../../core/target.js'],
  ['src/dashboard/server/good.ts', '../../services/target.js'],
  ['src/dashboard/server/good-http.ts', 'node:http'],
  ['src/dashboard/web/good.ts', '../../core/target.js'],
  ['src/services/clone/good-ports.ts', '../../ports/target.js'],
  ['src/adapters/store/good.ts', '../../ports/target.js'],
  ['src/adapters/process.ts', 'execa'],
  ['src/adapters/store/good-files.ts', 'node:fs'],
  ['src/core/good.ts', 'node:crypto'],
  ['src/engines/nova/good.ts', './core/target.js'],
  ['src/engines/nova/good-ports.ts', '../../ports/target.js'],
  ['src/engines/nova/good-services.ts', '../../services/target.js'],
  ['src/engines/nova/api/good.ts', '../target.js'],
  ['src/engines/nova/api/good-https.ts', 'node:https'],
  ['src/engines/nova/core/good.ts', '../../../core/target.js'],
  ['src/host.ts', './adapters/target.js'],
  // A cycle is reported at one of its modules.
  ['src/services/cycle/two.ts', './one.js'],
];

const layers = ['core', 'ports', 'services', 'adapters', 'cli', 'cli/commands', 'engines/nova', 'engines/nova/core', 'engines/other'];

describe('import rules', () => {
  let copy: string;
  let found: ReadonlyArray<{ from: string; to: string; rule: { name: string } }>;

  beforeAll(async () => {
    copy = await mkdtemp(join(tmpdir(), 'cwt-imports-'));
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
    for (const name of ['package.json', 'tsconfig.json']) await copyFile(join(root, name), join(copy, name));
    for (const layer of layers) await write(`src/${layer}/target.ts`, 'export type Target = string;\n');
    for (const [index, [file, imports]] of [...forbidden, ...allowed].entries()) {
      // Type imports count.
      const statement = index % 2 === 0 ? 'import type' : 'import';
      await write(file, `${statement} * as it from '${imports}';\nexport type It = typeof it;\n`);
    }
    const { stdout } = await execa('depcruise', ['--config', config, '--output-type', 'json', 'src'], {
      cwd: copy,
      preferLocal: true,
      localDir: root,
      reject: false,
    });
    found = JSON.parse(stdout).summary.violations;
  }, 60_000);

  afterAll(() => rm(copy, { recursive: true, force: true }));

  async function write(file: string, text: string): Promise<void> {
    await mkdir(dirname(join(copy, file)), { recursive: true });
    await writeFile(join(copy, file), text);
  }

  it.each(forbidden)('%s must not import %s', (file, _imports, rule) => {
    expect(found.filter(({ from }) => from === file).map(({ rule: { name } }) => name)).toContain(rule);
  });

  it.each(allowed)('%s may import %s', (file) => {
    expect(found.filter(({ from }) => from === file)).toEqual([]);
  });

  it('each rule is broken by an import', async () => {
    const { default: rules } = await import(config);
    const names: string[] = rules.forbidden.map(({ name }: { name: string }) => name);
    expect([...new Set(forbidden.map(([, , rule]) => rule))].sort()).toEqual(names.sort());
  });
});
