// Shows the main commands on real virtual machines: `npm run quickstart [-- --count N]`. With --linux the guests are small Linux systems
// that you can log in to, with --image NAME|URL those of an image that is downloaded; otherwise 512 bytes of code that boot in a tenth of
// a second.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { widthOf, wrap } from '../src/cli/terminal/layout.js';
import { openHost } from '../src/index.js';
import { buildGolden } from './golden.js';

const { values } = parseArgs({
  options: { count: { type: 'string' }, linux: { type: 'boolean', default: false }, image: { type: 'string' } },
});
if (values.linux && values.image !== undefined) {
  console.error('--linux and --image exclude each other: --linux builds its image, --image downloads one');
  process.exit(2);
}
const count = Number(values.count ?? (values.image === undefined ? (values.linux ? 8 : 100) : 2));
if (!Number.isInteger(count) || count < 1 || count > 1000) {
  console.error(`--count ${values.count}: use a number from 1 to 1000`);
  process.exit(2);
}

const bin = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const fleet = 'quickstart';

/** Ctrl-C also reaches the running cowherd command, which finishes its current steps; then everything is removed. */
let interruptedBy: number | undefined;
let running: { kill(signal: 'SIGTERM'): boolean } | undefined;
process.on('SIGINT', () => {
  interruptedBy ??= 130;
});
process.on('SIGTERM', () => {
  interruptedBy ??= 143;
  running?.kill('SIGTERM');
});

function say(text: string): void {
  console.log(wrap(text, widthOf(process.stdout)));
}

/** A command line broken between words with backslashes, so that it can still be copied. */
function folded(words: readonly string[]): string {
  const width = widthOf(process.stdout) ?? Number.POSITIVE_INFINITY;
  const lines: string[] = [];
  let line = '$';
  for (const word of words) {
    if (line.length + word.length + 3 > width && line.trim() !== '$') {
      lines.push(`${line} \\`);
      line = '   ';
    }
    line += ` ${word}`;
  }
  return [...lines, line].join('\n');
}

/** Prints a command line, then runs it. */
async function cowherd(...args: string[]): Promise<void> {
  if (interruptedBy !== undefined && args[0] !== 'teardown') throw new Failure(interruptedBy);
  console.log(`\n${folded(['cowherd', ...args.map((arg) => (/[^\w=.,/:-]/.test(arg) ? `'${arg}'` : arg))])}`);
  const run = execa(process.execPath, [bin, ...args], { stdio: 'inherit', reject: false });
  running = run;
  const { exitCode } = await run;
  if (exitCode !== 0) throw new Failure(exitCode ?? 1);
}

/** cowherd has reported the error; only its exit code is passed on. */
class Failure extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`cowherd exited ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** A hundred tiny guests, and what they cost. */
async function smallestGuests(): Promise<void> {
  say('Building golden.qcow2: a 64 MiB disk with 48 MiB in use and a 512-byte guest that writes to its disk when it boots.');
  await buildGolden(golden, { filledMiB: 48 });
  const guest = ['--memory', '16MiB', '--network', 'none'];
  await cowherd('spawn', fleet, '--base', golden, '--count', String(count), ...guest, '--wait', 'console=^OK');
  await cowherd('status', fleet);
  await cowherd('report', fleet);
  await cowherd('reset', fleet, '--start', 'none');
  await cowherd('report', fleet);
  await cowherd('teardown', fleet, '--with-base', '--yes');
}

/** Guests with names, keys and addresses: run commands in them, then reset one. */
async function linuxGuests(): Promise<void> {
  say('Building golden.qcow2: a 28 MB Linux system from Debian packages.');
  await execa('bash', [fileURLToPath(new URL('../examples/tiny-linux/build.sh', import.meta.url)), golden], { stdio: 'inherit' });
  const guest = ['--memory', '128MiB', '--seed', 'nocloud', '--forward-ssh'];
  await cowherd('spawn', fleet, '--base', golden, '--count', String(count), ...guest, '--wait', 'agent,ssh');
  await cowherd('status', fleet);
  await cowherd('exec', fleet, '--', 'hostname');
  await cowherd('exec', fleet, '1', '--via', 'ssh', '--', 'echo mine > /root/mark; uname -sr');
  await cowherd('inventory', fleet, '1', '--format', 'ssh-config');
  await cowherd('reset', fleet, '1', '--wait', 'agent,ssh');
  await cowherd('exec', fleet, '1', '--', 'test -e /root/mark || echo it is clean');
  await cowherd('report', fleet);
  await cowherd('teardown', fleet, '--with-base', '--yes');
}

/** Guests of an image that is downloaded: a name of the catalog, or a URL. */
async function imageGuests(image: string): Promise<void> {
  await cowherd('base', 'pull', image, '--as', 'golden');
  await cowherd('base', 'inspect', 'golden');
  // What the image needs (memory, seed, firmware) is recorded with it.
  await cowherd('spawn', fleet, '--base', 'golden', '--count', String(count), '--forward-ssh', '--wait', 'auto', '--timeout', '30m');
  await cowherd('status', fleet);
  await cowherd('exec', fleet, '--', 'hostname; uname -sr');
  await cowherd('exec', fleet, '1', '--', 'echo mine > mark');
  await cowherd('reset', fleet, '1', '--wait', 'auto', '--timeout', '30m');
  await cowherd('exec', fleet, '1', '--', 'test -e mark || echo it is clean');
  await cowherd('report', fleet);
  await cowherd('teardown', fleet, '--with-base', '--yes');
}

if (values.linux || values.image !== undefined) {
  // Seeds and ssh need more tools than the smallest guests.
  const setup = fileURLToPath(new URL('setup.sh', import.meta.url));
  const { exitCode } = await execa('bash', [setup, '--guests'], { stdio: 'inherit', reject: false });
  if (exitCode !== 0) process.exit(exitCode ?? 1);
}

// A separate store next to the default one, so that your fleets are not touched.
const host = await openHost();
const store = `${host.fleets.root}-quickstart`;
const uri = host.hypervisor.uri;
await host.close();
process.env.COWHERD_STORE = store;
process.env.LIBVIRT_DEFAULT_URI = uri;

const scratch = await mkdtemp(join(tmpdir(), 'cowherd-quickstart-'));
const golden = join(scratch, 'golden.qcow2');
let isDone = false;
try {
  say(`Connection ${uri}, store ${store}`);
  await (values.image !== undefined ? imageGuests(values.image) : values.linux ? linuxGuests() : smallestGuests());
  isDone = true;
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.exitCode = error.exitCode;
} finally {
  await rm(scratch, { recursive: true, force: true });
  let isGone = true;
  if (!isDone && existsSync(join(store, 'fleets', fleet))) {
    say(`\nCleaning up after the ${interruptedBy === undefined ? 'failure' : 'interruption'}:`);
    isGone = await cowherd('teardown', fleet, '--with-base', '--yes').then(
      () => true,
      () => false,
    );
  }
  // The store is needed to remove the fleet's domains later.
  if (isGone) await rm(store, { recursive: true, force: true });
  else {
    const settings = `COWHERD_STORE=${store} LIBVIRT_DEFAULT_URI=${uri}`;
    console.log(
      `\nThe fleet could not be removed completely. To remove the rest:\n  ${settings} node ${bin} teardown ${fleet} --with-base --yes && rm -r ${store}`,
    );
  }
}
if (isDone) say('\nDone. All domains, overlays and base images were removed. Installed packages and a running libvirtd stay.');
