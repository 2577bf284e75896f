// Every check, one after the other: `npm test`. The last line is `N passed, N failed`.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type Options } from 'execa';

const counts = { passed: 0, failed: 0, skipped: 0 };
const scratch = await mkdtemp(join(tmpdir(), 'cowherd-test-'));

/** End-to-end tests make users, stores and domains: they run as root. */
const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-E', 'env', `PATH=${process.env.PATH}`];

async function check(name: string, command: string, args: string[]): Promise<void> {
  console.log(`\n== ${name}`);
  const { exitCode } = await execa(command, args, { stdio: 'inherit', reject: false, preferLocal: true });
  counts[exitCode === 0 ? 'passed' : 'failed']++;
}

/** @param isQuiet show the output when all is over: for tests that run beside others */
async function tests(name: string, prefix: readonly string[] = [], options: readonly string[] = [], isQuiet = false): Promise<void> {
  if (!isQuiet) console.log(`\n== ${name} tests`);
  const report = join(scratch, `${name}.json`);
  const call = [...prefix, process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--project', name, ...options];
  const [command = process.execPath, ...args] = [...call, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const output: Options = isQuiet ? { stdin: 'ignore', all: true } : { stdio: 'inherit' };
  const { exitCode, all } = await execa(command, args, { ...output, reject: false });
  if (isQuiet) console.log(`\n== ${name} tests\n${all}`);
  const result = await readFile(report, 'utf8').then(JSON.parse, () => undefined);
  if (result === undefined) {
    counts.failed++;
    return;
  }
  counts.passed += result.numPassedTests;
  counts.failed += result.numFailedTests;
  counts.skipped += result.numPendingTests + result.numTodoTests;
  // A file that could not be loaded, or a teardown that failed, counts no test: it must not pass for green.
  if (exitCode !== 0 && result.numFailedTests === 0) counts.failed++;
}

try {
  await check('lint', 'npm', ['run', '--silent', 'lint']);
  await check('types', 'npm', ['run', '--silent', 'types']);
  // On two cores vitest would run one file at a time.
  const twoFiles = ['--maxWorkers=2'];
  await tests('unit', [], twoFiles);
  await tests('integration', [], twoFiles);
  // Small guests wait more than they work: three files at a time on two cores. Some tests do nothing but wait.
  await Promise.all([tests('e2e', asRoot, ['--maxWorkers=3']), tests('e2e-waiting', asRoot, [], true)]);
  await tests('e2e-crowded', asRoot);
} finally {
  await rm(scratch, { recursive: true, force: true });
}
const skipped = counts.skipped === 0 ? '' : `, ${counts.skipped} skipped`;
console.log(`\n${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed === 0 ? 0 : 1;
