/**
 * A process for one command of the engine, which the test kills: its records and locks are left as the kernel leaves them. Bundled and
 * started by {@link ./children.ts}. The argument is a {@link ChildTask}; standard output gets the outcome, or the error, as JSON.
 */
import { parseWaitFor } from '../../../src/core/guest/stages.js';
import { FastClock } from '../../fakes/openstack/open-fake.js';
import { openLabEngine } from './lab-engine.js';

/** A command with its options, as JSON; `wait` is text. */
export interface ChildTask {
  root: string;
  environment: Record<string, string>;
  verb: 'spawn' | 'reset' | 'rebase' | 'promote' | 'teardown' | 'start' | 'stop' | 'resume';
  options: Record<string, unknown>;
}

const task: ChildTask = JSON.parse(process.argv[2] ?? '');
const engine = await openLabEngine({ root: task.root, environment: task.environment, clock: new FastClock() });
const { wait, ...options } = task.options;
const given = typeof wait === 'string' ? { ...options, wait: parseWaitFor(wait) } : options;
try {
  const command = engine[task.verb] as (options: unknown) => Promise<unknown>;
  process.stdout.write(JSON.stringify({ outcome: await command(given) }));
} catch (error) {
  const { code, message, hint } = error as { code?: string; message?: string; hint?: string };
  process.stdout.write(JSON.stringify({ error: { code, message, hint } }));
  process.exitCode = 1;
} finally {
  await engine.close();
}
