import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Reading all source maps at the start, as Node.js would, takes an eighth of a short command: they are read when a stack is shown. */

const frame = /file:\/\/\/[^\s):]+\.js:\d+:\d+/g;

/** A stack trace with positions in source files instead of bundles; those without a source map stay as they are. */
export function withSourcePositions(stack: string): string {
  return stack.replace(frame, (place) => {
    const [, url = '', line = '0', column = '0'] = /^(.*):(\d+):(\d+)$/.exec(place) ?? [];
    try {
      const path = fileURLToPath(url);
      const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')) as SourceMapPayload);
      const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
      if (!('originalSource' in entry)) return place;
      const source = relative(process.cwd(), resolve(dirname(path), entry.originalSource));
      return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    } catch {
      return place;
    }
  });
}
