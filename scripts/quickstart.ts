// The main job from beginning to end, on real virtual machines: `npm run quickstart [-- --count N]`.
// With --linux the guests are Linux ones, to be logged in to; without, 512 bytes of code that boot in a tenth of a second.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { openHost } from '../src/index.js';
import { buildGolden } from './golden.js';

const { values } = parseArgs({ options: { count: { type: 'string' }, linux: { type: 'boolean', default: false } } });
const count = Number(values.count ?? (values.linux ? 8 : 100));
if (!Number.isInteger(count) || count < 1 || count > 1000) {
  console.error(`--count ${values.count}: write a number from 1 to 1000`);
  process.exit(2);
}

const bin = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const fleet = 'quickstart';

/** Ctrl-C reaches the cowherd that runs, too, which finishes what it has begun; then all is taken down. */
let interruptedBy: number | undefined;
let running: { kill(signal: 'SIGTERM'): boolean } | undefined;
process.on('SIGINT', () => {
  interruptedBy ??= 130;
});
process.on('SIGTERM', () => {
  interruptedBy ??= 143;
  running?.kill('SIGTERM');
});

/** Prints a command as a person would type it, then runs it. */
async function cowherd(...args: string[]): Promise<void> {
  if (interruptedBy !== undefined && args[0] !== 'teardown') throw new Failure(interruptedBy);
  console.log(`\n$ cowherd ${args.map((arg) => (/[^\w=.,/:-]/.test(arg) ? `'${arg}'` : arg)).join(' ')}`);
  const run = execa(process.execPath, [bin, ...args], { stdio: 'inherit', reject: false });
  running = run;
  const { exitCode } = await run;
  if (exitCode !== 0) throw new Failure(exitCode ?? 1);
}

/** cowherd has said what is wrong; there is nothing to add but its exit code. */
class Failure extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`cowherd exited ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** As many as the machine has room for, and what they cost. */
async function smallestGuests(): Promise<void> {
  console.log('Building golden.qcow2: a 64 MiB disk, 48 MiB of it in use, with a 512-byte guest that writes its own disk when it boots.');
  await buildGolden(golden, { filledMiB: 48 });
  const guest = ['--memory', '16MiB', '--network', 'none'];
  await cowherd('spawn', fleet, '--base', golden, '--count', String(count), ...guest, '--wait', 'console=^OK');
  await cowherd('status', fleet);
  await cowherd('report', fleet);
  await cowherd('reset', fleet, '--start', 'none');
  await cowherd('report', fleet);
  await cowherd('teardown', fleet, '--with-base', '--yes');
}

/** Guests with names, keys and addresses: work in them, and have them back clean. */
async function linuxGuests(): Promise<void> {
  console.log('Building golden.qcow2: a real Linux of 28 MB, out of Debian packages.');
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

if (values.linux) {
  // Seeds and ssh need a little more than the smallest guests.
  const setup = fileURLToPath(new URL('setup.sh', import.meta.url));
  const { exitCode } = await execa('bash', [setup, '--guests'], { stdio: 'inherit', reject: false });
  if (exitCode !== 0) process.exit(exitCode ?? 1);
}

// A store of its own beside the usual one, so that nothing of yours is touched.
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
  console.log(`Connection ${uri}, store ${store}`);
  await (values.linux ? linuxGuests() : smallestGuests());
  isDone = true;
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.exitCode = error.exitCode;
} finally {
  await rm(scratch, { recursive: true, force: true });
  let isGone = true;
  if (!isDone && existsSync(join(store, 'fleets', fleet))) {
    console.log(`\nCleaning up after the ${interruptedBy === undefined ? 'failure' : 'interruption'}:`);
    isGone = await cowherd('teardown', fleet, '--with-base', '--yes').then(
      () => true,
      () => false,
    );
  }
  // Without its store nothing would know which domains are the fleet's.
  if (isGone) await rm(store, { recursive: true, force: true });
  else {
    const settings = `COWHERD_STORE=${store} LIBVIRT_DEFAULT_URI=${uri}`;
    console.log(`\nSomething is left. This removes it:\n  ${settings} node ${bin} teardown ${fleet} --with-base --yes && rm -r ${store}`);
  }
}
if (isDone) console.log('\nDone. No domain, overlay or base image is left. The packages stay, and so does libvirtd.');
