// Compares the catalog of images with the servers: `npm run catalog:check [-- --catalog FILE]`. Needs the internet.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { table } from '../src/cli/terminal/table.js';
import { parseCatalog } from '../src/core/image/catalog-file.js';
import { type CheckedFile, checkImages } from './catalog-probe.js';

const builtIn = fileURLToPath(new URL('../catalog/images.json', import.meta.url));
const { values } = parseArgs({ options: { catalog: { type: 'string', default: builtIn } } });
const { images } = parseCatalog(await readFile(values.catalog, 'utf8'), values.catalog);
const checked = await checkImages(images);
const broken = checked.filter(({ problem }) => problem !== undefined);
const rows = table<CheckedFile>(checked, [
  { title: 'IMAGE', value: ({ image }) => image },
  { title: 'ARCH', value: ({ architecture }) => architecture },
  { title: 'RESULT', value: ({ problem }) => (problem === undefined ? 'ok' : 'MISSING') },
  { title: 'FILE', value: ({ file, problem }) => problem ?? file },
]);
process.stdout.write(`${rows}\n${checked.length} files: ${checked.length - broken.length} ok, ${broken.length} missing.\n`);
process.exitCode = broken.length > 0 ? 1 : 0;
