// The main job from beginning to end, on real virtual machines: `npm run quickstart [-- --count N]`.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { openHost } from '../dist/index.js';
import { buildGolden } from './golden.mjs';

const { values } = parseArgs({ options: { count: { type: 'string', default: '100' } } });
const count = Number(values.count);
if (!Number.isInteger(count) || count < 1 || count > 1000) {
  console.error(`--count ${values.count}: write a number from 1 to 1000`);
  process.exit(2);
}

const bin = fileURLToPath(new URL('../bin/run.js', import.meta.url));
const fleet = 'quickstart';

/** Prints a command as a person would type it, then runs it. */
async function cowherd(...args) {
  console.log(`\n$ cowherd ${args.map((arg) => (/[^\w=.,/:-]/.test(arg) ? `'${arg}'` : arg)).join(' ')}`);
  const { exitCode } = await execa(process.execPath, [bin, ...args], { stdio: 'inherit', reject: false });
  if (exitCode !== 0) throw new Failure(exitCode ?? 1);
}

/** cowherd has said what is wrong; there is nothing to add but its exit code. */
class Failure extends Error {
  constructor(exitCode) {
    super(`cowherd exited ${exitCode}`);
    this.exitCode = exitCode;
  }
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
let torn = false;
try {
  console.log(`Connection ${uri}, store ${store}`);
  console.log('Building golden.qcow2: a 64 MiB disk, 48 MiB of it in use, with a 512-byte guest that writes its own disk when it boots.');
  await buildGolden(golden, { filledMiB: 48 });

  const guest = ['--memory', '16MiB', '--network', 'none'];
  await cowherd('spawn', fleet, '--base', golden, '--count', String(count), ...guest, '--wait', 'console=^OK');
  await cowherd('status', fleet);
  await cowherd('report', fleet);
  await cowherd('reset', fleet, '--start', 'none');
  await cowherd('report', fleet);
  await cowherd('teardown', fleet, '--with-base', '--yes');
  torn = true;
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.exitCode = error.exitCode;
} finally {
  if (!torn) {
    console.log('\nCleaning up after the failure:');
    await cowherd('teardown', fleet, '--with-base', '--yes').catch(() => undefined);
  }
  await rm(scratch, { recursive: true, force: true });
  await rm(store, { recursive: true, force: true });
}
if (torn) console.log('\nDone. No domain, overlay or base image is left. The packages stay, and so does libvirtd.');
