import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Fault, page } from './faults.js';
import type { ServedFile } from './file-server.js';

export function etagOf({ content, etag }: ServedFile): string | undefined {
  if (etag === null) return undefined;
  return etag ?? `"${createHash('sha256').update(content).digest('hex').slice(0, 16)}"`;
}

interface Planned {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** By RFC 9110. */
function plan(request: IncomingMessage, file: ServedFile): Planned {
  const { content, lastModified, ranges = true } = file;
  const etag = etagOf(file);
  const headers: Record<string, string> = {
    'content-type': file.contentType ?? 'application/octet-stream',
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { 'last-modified': lastModified }),
  };
  const [, first, last = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const condition = request.headers['if-range'];
  const isCurrent = condition === undefined || condition === etag || condition === lastModified;
  const whole = { status: 200, headers: { ...headers, 'content-length': String(content.length) }, body: content };
  if (!ranges || first === undefined || !isCurrent) return whole;
  const begin = Number(first);
  if (begin >= content.length) {
    return {
      status: 416,
      headers: { ...headers, 'content-range': `bytes */${content.length}`, 'content-length': '0' },
      body: Buffer.alloc(0),
    };
  }
  const end = last === '' ? content.length - 1 : Math.min(Number(last), content.length - 1);
  const body = content.subarray(begin, end + 1);
  return {
    status: 206,
    headers: { ...headers, 'content-range': `bytes ${begin}-${end}/${content.length}`, 'content-length': String(body.length) },
    body,
  };
}

export function reply(request: IncomingMessage, response: ServerResponse, file: ServedFile): void {
  const { status, headers, body } = plan(request, file);
  response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : body);
}

export async function replyWithFault(request: IncomingMessage, response: ServerResponse, file: ServedFile, fault: Fault): Promise<void> {
  const { status, headers, body } = plan(request, file);
  const withoutLength = (): Record<string, string> => {
    const { 'content-length': _, ...rest } = headers;
    return rest;
  };
  const begin = (bytes: Buffer): Promise<void> =>
    new Promise((resolve) => {
      response.writeHead(status, headers);
      response.flushHeaders();
      // Bytes in a buffer would be lost when the connection is closed.
      response.write(bytes.length > 0 ? bytes : '', () => resolve());
      if (bytes.length === 0) resolve();
    });
  switch (fault.kind) {
    case 'hang up':
      return void request.socket.destroy();
    case 'silence':
      return;
    case 'cut':
      await begin(body.subarray(0, fault.after));
      await new Promise((resolve) => setTimeout(resolve, 20));
      return void request.socket.destroy();
    case 'stall':
      return begin(body.subarray(0, fault.after));
    case 'hold':
      await begin(body.subarray(0, fault.after));
      await fault.until;
      return void response.end(body.subarray(fault.after));
    case 'status':
      return void response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? '');
    case 'redirect':
      return void response.writeHead(fault.status ?? 302, { location: fault.to }).end('moved\n');
    case 'wrong range':
      return void response.writeHead(206, { ...headers, 'content-range': `bytes 1-${body.length}/${body.length + 1}` }).end(body);
    case 'ignore range':
      return void response.writeHead(200, { ...headers, 'content-length': String(file.content.length) }).end(file.content);
    case 'html':
      return void response.writeHead(200, { 'content-type': fault.contentType ?? 'text/html; charset=utf-8' }).end(page);
    case 'chunked':
      response.writeHead(status, withoutLength());
      return void response.end(body);
    case 'endless':
      response.writeHead(200, withoutLength());
      return pour(response);
    case 'wrong length':
      response.writeHead(status, { ...headers, 'content-length': String(fault.announced) });
      response.write(body.subarray(0, fault.announced));
      return void setTimeout(() => request.socket.destroy(), 20);
    case 'encoded':
      return void response.writeHead(status, { ...headers, 'content-encoding': fault.encoding }).end(body);
    case 'flip': {
      const changed = Buffer.from(body);
      changed.writeUInt8(changed.readUInt8(fault.at) ^ 0xff, fault.at);
      return void response.writeHead(status, headers).end(changed);
    }
  }
}

async function pour(response: ServerResponse): Promise<void> {
  const chunk = Buffer.alloc(64 * 1024, 1);
  const closed = once(response, 'close');
  while (!response.destroyed) {
    if (!response.write(chunk)) await Promise.race([once(response, 'drain'), closed]);
  }
}
