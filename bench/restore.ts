import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { formerOverlayFormat } from '../src/core/image/overlay-format.js';
import { openHost } from '../src/index.js';
import { type Bench, round } from './bench.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const python = '/usr/bin/python3';
const golden = 'cwt-bench-cg';
const fleet = 'cwt-bench-cw';
const clone = `${fleet}-001`;

/** One clone, from the start of its QEMU until its agent answers: by a reset, and by libvirt's restore of the same file. */
export async function benchRestore({ run, row, say, scratch, store, uri, rounds }: Bench) {
  const image = join(scratch, 'tiny-restore.qcow2');
  await execa('bash', [join(here, '..', 'examples', 'tiny-linux', 'build.sh'), image]);
  await run('base', 'add', image, '--name', golden);
  const machine = ['--memory', '128MiB', '--seed', 'smbios', '--virt-type', 'qemu', '--network', 'none'];
  await run('spawn', golden, '--base', golden, ...machine, '--count', '1', '--wait', 'agent', '--timeout', '10m');
  await run('spawn', fleet, '--from-running', `${golden}-001`, '--count', '1');
  const seconds = { cowherd: [] as number[], hand: [] as number[] };
  for (let turn = 0; turn < 3 * rounds; turn++) {
    seconds.cowherd.push(await answered([], async () => void (await run('reset', fleet))));
    seconds.hand.push(await byHand());
  }
  say(`  cowherd ${seconds.cowherd.join(', ')} s; by hand ${seconds.hand.join(', ')} s`);
  for (const name of [fleet, golden]) await run('teardown', name, '--yes', '--with-base');
  const [cowherd_s, other_s] = [round(median(seconds.cowherd), 3), round(median(seconds.hand), 3)];
  row('time of a clone until the agent answers, against virsh restore', cowherd_s / other_s, '×', 1.3, 'less', { cowherd_s, other_s });
  return seconds;

  /** The same domain and file, with a fresh overlay; it starts at once, with the identity of the source VM. */
  async function byHand(): Promise<number> {
    const { stdout: xml } = await execa('virsh', ['-c', uri, 'dumpxml', '--security-info', '--migratable', clone]);
    await execa('virsh', ['-c', uri, 'destroy', clone]);
    const host = await openHost({ connect: uri, store });
    try {
      const record = await host.fleets.read(fleet);
      const base = record === undefined ? undefined : await host.bases.get(record.base);
      if (base === undefined) throw new Error('no base image');
      const { overlay } = host.fleets.files(fleet, clone);
      await writeFile(overlay, await host.images.freshOverlay(base, `${overlay}.new`, record?.spec.overlay ?? formerOverlayFormat));
      const slot = await host.memory.openSlot(fleet, base, false);
      try {
        await slot.become(xml);
        return await answered(['--restore', slot.path], async () => {});
      } finally {
        await slot.discard();
      }
    } finally {
      await host.close();
    }
  }

  async function answered(more: readonly string[], work: () => Promise<void>): Promise<number> {
    const watch = execa(python, [join(here, 'agent-answers.py'), '--connect', uri, ...more, clone], { buffer: true });
    await new Promise((resolve) => watch.stdout.once('data', resolve));
    const [{ stdout }] = await Promise.all([watch, work()]);
    return Number(stdout.split('\n').at(-1));
  }
}
