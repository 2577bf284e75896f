import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { median } from 'simple-statistics';
import { buildGolden } from '../scripts/golden.js';
import { nonZeroSegments } from '../src/core/image/overlay.js';
import { defaultOverlayFormat } from '../src/core/image/overlay-format.js';
import { openHost } from '../src/index.js';
import type { Bench } from './bench.js';

const rounds = 5;

/** Compares cowherd's overlays with a plain loop that writes the same bytes, in turn. */
export async function benchOverlays({ store, scratch, row, sizes: { overlays: count } }: Bench) {
  const host = await openHost({ store });
  const fleet = 'cwt-bench-o';
  const plainDir = join(scratch, 'plain');
  try {
    const golden = join(scratch, 'golden-o.qcow2');
    await buildGolden(golden, { filledMiB: 1 });
    const { base } = await host.bases.locked(() => host.bases.import({ path: golden, trustChain: false }));
    const image = await host.images.freshOverlay(base, await host.overlays.scratchPath(fleet), defaultOverlayFormat);
    const segments = nonZeroSegments(image);
    const times = { cowherd: [] as number[], plain: [] as number[] };
    const names = Array.from({ length: count }, (_, index) => `o-${index}`);
    let allocated = 0;
    for (let turn = 0; turn < rounds; turn++) {
      let began = performance.now();
      await host.overlays.stage(fleet, names, image);
      await Promise.all(names.map((name) => host.overlays.place(fleet, name)));
      times.cowherd.push(performance.now() - began);
      const sizes = [...(await host.overlays.sizes(fleet)).values()];
      allocated = Math.max(...sizes);
      for (const name of names) await host.fleets.removeMemberFiles(fleet, name, [name]);

      await mkdir(plainDir, { recursive: true });
      began = performance.now();
      for (const name of names) {
        const handle = await open(join(plainDir, `${name}.qcow2`), 'w');
        for (const { offset, bytes } of segments) await handle.write(bytes, 0, bytes.length, offset);
        await handle.truncate(image.length);
        await handle.close();
      }
      times.plain.push(performance.now() - began);
      for (const name of await readdir(plainDir)) await rm(join(plainDir, name));
    }
    await host.bases.remove(base);
    const ratio = median(times.cowherd.map((time, turn) => time / (times.plain[turn] ?? Number.NaN)));
    row(`${count.toLocaleString('en')} overlays, synced, against a plain loop that does not sync`, ratio, '×', 1.5, 'less', {
      cowherd_ms: times.cowherd,
      plain_ms: times.plain,
    });
    row('disk per fresh overlay', allocated / 1024, 'KiB', 16, 'less');
    return times;
  } finally {
    await host.close();
  }
}
