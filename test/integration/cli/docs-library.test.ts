import { join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { pages, readPage, repository } from '../../support/docs/pages.js';

/** test/e2e/cli/docs.test.ts runs these, transpiled; here their types are checked against the package. */
it('TypeScript in the documentation has no type errors', () => {
  const blocks = pages.flatMap((page) => readPage(page).blocks).filter(({ language }) => language === 'ts');
  expect(blocks.length).toBeGreaterThan(0);
  // Beside package.json, so that 'cowherd' is this package.
  const sources = new Map(blocks.map(({ text }, index) => [join(repository, `example-${index}.mts`), text]));
  const { config } = ts.readConfigFile(join(repository, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...config.compilerOptions, noEmit: true, rootDir: '.', noUnusedLocals: false },
    repository,
  );
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => sources.has(path) || fileExists(path);
  host.readFile = (path) => sources.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) => {
    const text = sources.get(path);
    return text === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, text, ts.ScriptTarget.ES2023);
  };
  const program = ts.createProgram([...sources.keys()], options, host);
  const problems = ts.getPreEmitDiagnostics(program).map((one) => ts.flattenDiagnosticMessageText(one.messageText, '\n'));
  expect(problems).toEqual([]);
});
