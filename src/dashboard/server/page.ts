import { randomBytes } from 'node:crypto';
import { extname } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { escapeHtml } from '../../core/quoting.js';

const typeOf: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
  '.wasm': 'application/wasm',
};

export interface PageFile {
  body: Uint8Array<ArrayBuffer> | string;
  type: string;
  /** Its name contains a hash of its content. */
  isHashed: boolean;
  /** For inline styles of this answer. */
  nonce?: string;
}

/** The files of the page, with what is only known when it is served. */
export class Page {
  readonly #files: ReadonlyMap<string, Buffer>;

  /** @throws FILE_NOT_FOUND */
  constructor(files: ReadonlyMap<string, Buffer>) {
    if (!files.has('index.html')) {
      throw new CowherdError('FILE_NOT_FOUND', 'The page of the dashboard is missing in this installation', {
        hint: 'In a source tree, build it: npm run build. Otherwise install cowherd again.',
      });
    }
    this.#files = files;
  }

  /** @param path relative to the page */
  get(path: string): PageFile | undefined {
    const name = path === '' ? 'index.html' : path;
    const bytes = this.#files.get(name);
    const type = typeOf[extname(name)];
    if (bytes === undefined || type === undefined) return undefined;
    if (name !== 'index.html') return { body: new Uint8Array(bytes), type, isHashed: name.startsWith('assets/') };
    const nonce = randomBytes(16).toString('base64');
    const body = bytes.toString('utf8').replace(/<head>/i, `<head>\n    <meta name="csp-nonce" content="${nonce}" />`);
    return { body, type, isHashed: false, nonce };
  }
}

/** A page without scripts: text, and where to go next. @param refresh a path on this server */
export function plainPage(title: string, text: string, refresh?: string): string {
  const next = refresh === undefined ? '' : `<meta http-equiv="refresh" content="0;url=${escapeHtml(refresh)}" />`;
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8" /><title>${escapeHtml(title)}</title>${next}</head><body><h1>${escapeHtml(title)}</h1><p>${escapeHtml(text)}</p></body></html>\n`;
}
