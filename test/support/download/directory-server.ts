import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** Serves the files of a directory, which may be larger than memory. */
export async function serveDirectory(directory: string): Promise<{ url(name: string): string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const path = join(directory, basename(request.url ?? ''));
    const send = async (): Promise<void> => {
      const { size } = await stat(path);
      response.writeHead(200, { 'content-length': size });
      if (request.method === 'HEAD') response.end();
      else await pipeline(createReadStream(path), response);
    };
    send().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: (name) => `http://127.0.0.1:${port}/${name}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
