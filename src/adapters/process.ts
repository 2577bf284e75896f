import type { Readable, Writable } from 'node:stream';
import { type ExecaError, execa } from 'execa';
import type { CowherdError } from '../core/errors.js';
import { attachedEnvironment, childEnvironment } from './host/environment.js';
import { KeptOutput } from './host/kept-output.js';
import { workingDirectory } from './host/working-directory.js';
import { failureOf, missingTool } from './process-failure.js';

/** Runs all child processes: argument arrays, never a shell; fixed locale; a timeout; bounded output; a debug trace. */

export interface RunOptions {
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  env?: Record<string, string | undefined>;
  /** Exit codes that are not failures. */
  acceptedExitCodes?: number[];
  /** No exit code is a failure. */
  anyExitCode?: boolean;
  /** Truncates each stream to this size and reports it in the result; without it, too much output is a failure. */
  keepBytes?: number;
  /** File descriptors that the child inherits as 3, 4, … */
  inherit?: number[];
  onStdout?: (chunk: string) => void;
  /** With keepBytes: called with the kept output as it arrives. */
  onOutput?: ((stream: 'stdout' | 'stderr', text: string) => void) | undefined;
  /** Written to standard input, which is closed otherwise. */
  input?: Uint8Array | undefined;
}

export interface RunResult {
  stdout: string;
  stderr: string;
  exitCode: number;
  truncated: boolean;
}

const maxOutputBytes = 64 * 1024 * 1024;
/** Of a tool whose output is a stream. */
const maxMessageBytes = 16 * 1024;

const trace =
  process.env.COWHERD_TRACE === undefined || process.env.COWHERD_TRACE === ''
    ? undefined
    : (line: string): void => void process.stderr.write(`cowherd ${performance.now().toFixed(0)} ms: ${line}\n`);

/** Running children. execa does not clean up detached ones, so they would outlive this process. */
const living = new Set<Child>();
process.on('exit', () => {
  for (const child of living) killGroup(child);
});

interface Child {
  pid?: number | undefined;
  kill(signal: 'SIGKILL'): boolean;
}

/** Kills the child's process group, since the tool may be a wrapper. */
function killGroup(child: Child): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

/** Time between SIGTERM and SIGKILL, in milliseconds. */
const farewellMs = 2_000;

/**
 * Runs a tool until it exits.
 * @throws TOOL_MISSING, TOOL_TIMEOUT, TOOL_FAILED (with the command line and its output), INTERRUPTED
 */
export async function runTool(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeoutMs = 60_000, signal, acceptedExitCodes = [0], anyExitCode = false, inherit = [], onStdout, keepBytes, input } = options;
  trace?.([command, ...args].join(' '));
  const child = execa(command, args, {
    env: childEnvironment(options.env),
    extendEnv: false,
    cwd: workingDirectory(),
    timeout: timeoutMs,
    forceKillAfterDelay: farewellMs,
    maxBuffer: maxOutputBytes,
    buffer: keepBytes === undefined,
    reject: false,
    stripFinalNewline: false,
    // Ctrl-C at the terminal reaches only cowherd, which then stops its children.
    detached: true,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    ...(input === undefined ? {} : { input }),
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...inherited(inherit)],
  });
  if (onStdout !== undefined) child.stdout?.on('data', (chunk: Buffer) => onStdout(chunk.toString()));
  const keep = (stream: 'stdout' | 'stderr'): KeptOutput =>
    new KeptOutput(child[stream], keepBytes ?? 0, (text) => options.onOutput?.(stream, text));
  const kept = keepBytes === undefined ? undefined : [keep('stdout'), keep('stderr')];
  living.add(child);
  // Children of a wrapper keep its output open, and would be waited for.
  const killLater = (): unknown => setTimeout(() => living.has(child) && killGroup(child), 2 * farewellMs).unref();
  const reaper = setTimeout(killLater, timeoutMs);
  signal?.addEventListener('abort', killLater, { once: true });
  const result = await child.finally(() => {
    living.delete(child);
    clearTimeout(reaper);
    signal?.removeEventListener('abort', killLater);
  });
  const [stdout = '', stderr = ''] = kept?.map((output) => output.text) ?? [String(result.stdout ?? ''), String(result.stderr ?? '')];
  // ssh exits normally on SIGTERM.
  const wasEnded = result.timedOut || result.isCanceled;
  const isAnswer = !wasEnded && result.exitCode !== undefined && (anyExitCode || acceptedExitCodes.includes(result.exitCode));
  if (!result.failed || isAnswer) {
    return { stdout, stderr, exitCode: result.exitCode ?? 0, truncated: kept?.some((output) => output.isCut) === true };
  }
  throw failureOf(command, args, result, stderr, timeoutMs);
}

/** execa passes descriptors on, but its types allow that only for the first three. */
function inherited(descriptors: number[]): 'inherit'[] {
  return descriptors as unknown as 'inherit'[];
}

/** Runs a tool on the user's terminal and in the user's language; it receives all keys, including Ctrl-C. @returns its exit code */
export async function runAttached(command: string, args: readonly string[], options: Pick<RunOptions, 'env'> = {}): Promise<number> {
  trace?.([command, ...args].join(' '));
  const child = execa(command, args, {
    stdio: 'inherit',
    reject: false,
    cwd: workingDirectory(),
    env: attachedEnvironment(options.env),
    extendEnv: false,
  });
  // Signals from the keyboard reach it directly.
  const passOn = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, passOn);
  const result = await child.finally(() => {
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.off(signal, passOn);
  });
  if (result.code === 'ENOENT') throw missingTool(command);
  return result.exitCode ?? 128;
}

/** A persistent child process with open streams. */
export interface InteractiveProcess {
  write(text: string): void;
  onStdout(listener: (chunk: string) => void): void;
  onStderr(listener: (chunk: string) => void): void;
  /** Called once, when the child has exited or could not be started. */
  onEnd(listener: (error: CowherdError | undefined) => void): void;
  kill(): void;
}

/** Starts a tool and leaves its standard streams open. */
export function openTool(command: string, args: readonly string[], options: OpenOptions = {}): InteractiveProcess {
  const child = spawnOpen(command, args, options);
  child.stdout.setEncoding('utf8');
  child.stderr.setEncoding('utf8');
  return {
    write: (text) => void child.stdin.write(text),
    onStdout: (listener) => void child.stdout.on('data', listener),
    onStderr: (listener) => void child.stderr.on('data', listener),
    onEnd: (listener) =>
      void child.then((result) => listener((result as unknown as ExecaError).code === 'ENOENT' ? missingTool(command) : undefined)),
    kill: () => killGroup(child),
  };
}

type OpenOptions = Pick<RunOptions, 'env' | 'inherit'>;

function spawnOpen(command: string, args: readonly string[], { env, inherit = [] }: OpenOptions) {
  trace?.(`${[command, ...args].join(' ')} (kept open)`);
  const child = execa(command, args, {
    env: childEnvironment(env),
    extendEnv: false,
    cwd: workingDirectory(),
    reject: false,
    buffer: false,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', ...inherited(inherit)],
  });
  living.add(child);
  void child.finally(() => living.delete(child));
  // EPIPE if the child died first: its end is reported.
  child.stdin.on('error', () => undefined);
  return child;
}

/** A child whose streams carry bytes. */
export interface RawProcess {
  readonly input: Writable;
  readonly output: Readable;
  /** Resolves when it has ended or could not be started. */
  readonly ended: Promise<void>;
  close(): void;
}

/** Starts a tool whose output is shown as it is; its standard error is dropped. */
export function openRawTool(command: string, args: readonly string[], options: Pick<RunOptions, 'env'> = {}): RawProcess {
  const child = spawnOpen(command, args, options);
  child.stdout.on('error', () => undefined);
  child.stderr.resume();
  const ended = child.then(() => undefined);
  return { input: child.stdin, output: child.stdout, ended, close: () => living.has(child) && killGroup(child) };
}

/** A child that reads an open file and whose output is a stream of bytes. It waits while the output is not read. */
export interface FilterProcess {
  readonly output: Readable;
  /** Resolves with its messages; rejects like {@link runTool}. */
  readonly ended: Promise<string>;
  close(): void;
}

/** Starts a tool that reads a file, from the position of its descriptor, and writes to a stream. */
export function openFilter(
  command: string,
  args: readonly string[],
  { input, timeoutMs, signal }: { input: number; timeoutMs: number; signal?: AbortSignal | undefined },
): FilterProcess {
  trace?.([command, ...args].join(' '));
  const child = execa(command, args, {
    env: childEnvironment(),
    extendEnv: false,
    cwd: workingDirectory(),
    timeout: timeoutMs,
    reject: false,
    buffer: false,
    detached: true,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    // The types of execa know only its own first three descriptors here.
    stdio: [input as 0, 'pipe', 'pipe'],
  });
  living.add(child);
  const said = new KeptOutput(child.stderr, maxMessageBytes, () => undefined);
  const ended = child.then((result) => {
    living.delete(child);
    if (result.failed) throw failureOf(command, args, result, said.text, timeoutMs);
    return said.text;
  });
  // It is awaited only after the output.
  ended.catch(() => undefined);
  return { output: child.stdout, ended, close: () => living.has(child) && killGroup(child) };
}
