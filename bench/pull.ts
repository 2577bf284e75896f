import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { median } from 'simple-statistics';
import { at, type Bench, type Usage } from './bench.js';

const name = 'cwt-bench-pull';

/** Downloading and importing a large image, against curl and qemu-img, with a web server on this host. */
export async function benchPull({ run, cowherd, measure, row, say, scratch, rounds, sizes }: Bench) {
  const MiB = sizes.pullMiB;
  const files = { qcow2: join(scratch, 'pull.qcow2'), raw: join(scratch, 'pull.raw') };
  // Content that cannot be compressed, and is not all zeros.
  await execa('dd', ['if=/dev/urandom', `of=${files.raw}`, 'bs=1M', `count=${MiB}`]);
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', files.raw, files.qcow2]);
  const server = await serve(scratch);
  try {
    const measured: Record<string, { cowherd: Usage[]; curl: Usage[] }> = {};
    for (const format of ['qcow2', 'raw'] as const) {
      const results = { cowherd: [] as Usage[], curl: [] as Usage[] };
      const url = `${server.address}/pull.${format}`;
      for (let round = 0; round < rounds; round++) {
        results.curl.push(await byHand(url, format));
        await execa('sync');
        results.cowherd.push(await cowherd('base', 'pull', url, '--as', name, '--format', format));
        await run('base', 'remove', name);
        await execa('sync');
      }
      measured[format] = results;
      const walls = { cowherd: medianOf(results.cowherd, 'wall_s'), curl: medianOf(results.curl, 'wall_s') };
      say(`  ${format}: cowherd ${walls.cowherd} s, curl and qemu-img ${walls.curl} s`);
      const what = `pull of a ${format} image of ${MiB / 1024} GiB`;
      row(`time of a ${what}, against curl and qemu-img convert`, walls.cowherd / walls.curl, '×', 1.1, 'less', {
        cowherd_s: walls.cowherd,
        other_s: walls.curl,
      });
      row(`peak memory of a ${what}`, Math.max(...results.cowherd.map(({ peak_kib }) => peak_kib)) / 1024, 'MiB', 150, 'less');
    }
    return measured;
  } finally {
    await server.close();
    for (const file of Object.values(files)) await rm(file, { force: true });
  }

  /** What a shell script does, up to a synced image. */
  async function byHand(url: string, format: string): Promise<Usage> {
    const [download, image] = [join(scratch, 'download'), join(scratch, 'image.qcow2')];
    const script = 'curl -sSf -o "$1" "$2" && qemu-img convert -f "$3" -O qcow2 "$1" "$4" && sync "$4"';
    const usage = await measure('sh', '-c', script, 'sh', download, url, format, image);
    await rm(download);
    await rm(image);
    return usage;
  }
}

function medianOf(usages: readonly Usage[], key: 'wall_s' | 'cpu_s'): number {
  return usages.length === 1 ? at(usages, 0)[key] : median(usages.map((usage) => usage[key]));
}

async function serve(directory: string): Promise<{ address: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const path = join(directory, (request.url ?? '').slice(1));
    const send = async (): Promise<void> => {
      const { size, mtimeMs } = await stat(path);
      response.writeHead(200, { 'content-length': size, etag: `"${size}-${mtimeMs}"` });
      if (request.method === 'HEAD') response.end();
      else await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), response);
    };
    send().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
