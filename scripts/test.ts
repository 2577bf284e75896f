// Runs every check: `npm test`. The last line is `N passed, N failed`.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type Options } from 'execa';

const counts = { passed: 0, failed: 0, skipped: 0 };
/** Repeated at the end, where it is not lost in a long output. */
const failures: string[] = [];
const scratch = await mkdtemp(join(tmpdir(), 'cowherd-test-'));

/** End-to-end tests create users, stores and domains, so they run as root. */
const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-E', 'env', `PATH=${process.env.PATH}`];

async function check(name: string, command: string, args: string[]): Promise<void> {
  console.log(`\n== ${name}`);
  const { exitCode } = await execa(command, args, { stdio: 'inherit', reject: false, preferLocal: true });
  counts[exitCode === 0 ? 'passed' : 'failed']++;
  if (exitCode !== 0) failures.push(name);
}

interface FileResult {
  name: string;
  message: string;
  status: string;
  assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
}

/** Each failed test of a file with the beginning of its message, or the file if it could not be run. */
function failuresOf({ name, message, status, assertionResults }: FileResult): string[] {
  const failed = assertionResults.filter((test) => test.status === 'failed');
  const beginning = (text: string): string => text.split('\n').slice(0, 12).join('\n').slice(0, 2_000);
  if (failed.length === 0) return status === 'failed' ? [`${name}\n${beginning(message)}`] : [];
  return failed.map(({ fullName, failureMessages }) => `${name}: ${fullName}\n${beginning(failureMessages.join('\n'))}`);
}

interface TestOptions {
  prefix?: readonly string[];
  /** Files at a time: more than CPUs if the tests mostly wait. */
  workers?: number;
  /** Show the output at the end: for tests that run in parallel with others. */
  isQuiet?: boolean;
}

async function tests(name: string, { prefix = [], workers = 2, isQuiet = false }: TestOptions = {}): Promise<void> {
  if (!isQuiet) console.log(`\n== ${name} tests`);
  const report = join(scratch, `${name}.json`);
  const call = [...prefix, process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--project', name, `--maxWorkers=${workers}`];
  const [command = process.execPath, ...args] = [...call, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const output: Options = isQuiet ? { stdin: 'ignore', all: true } : { stdio: 'inherit' };
  const { exitCode, all } = await execa(command, args, { ...output, reject: false });
  if (isQuiet) console.log(`\n== ${name} tests\n${all}`);
  const result = await readFile(report, 'utf8').then(JSON.parse, () => undefined);
  if (result === undefined) {
    counts.failed++;
    failures.push(`${name} tests: no result`);
    return;
  }
  counts.passed += result.numPassedTests;
  counts.failed += result.numFailedTests;
  counts.skipped += result.numPendingTests + result.numTodoTests;
  // A test file that cannot be loaded, or a failed teardown, counts no test but must not pass.
  if (exitCode !== 0 && result.numFailedTests === 0) counts.failed++;
  const ended: string[] = result.testResults.flatMap(failuresOf);
  failures.push(...(exitCode !== 0 && ended.length === 0 ? [`${name} tests: exit code ${exitCode}; see its output above`] : ended));
}

try {
  await check('lint', 'npm', ['run', '--silent', 'lint']);
  await check('types', 'npm', ['run', '--silent', 'types']);
  // Commands on guests that hang do little but wait.
  const hanging = tests('e2e-hanging', { prefix: asRoot, isQuiet: true });
  await tests('unit');
  await tests('integration', { workers: 4 });
  await hanging;
  await tests('e2e', { prefix: asRoot, workers: 3 });
} finally {
  await rm(scratch, { recursive: true, force: true });
}
if (failures.length > 0) console.log(`\n== failures\n${failures.join('\n\n')}`);
const skipped = counts.skipped === 0 ? '' : `, ${counts.skipped} skipped`;
console.log(`\n${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed === 0 ? 0 : 1;
