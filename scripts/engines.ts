// Writes the tables of docs/engines.md from the declarations of the engines: `npm run engines`.
import { readFile, writeFile } from 'node:fs/promises';
import { openStack } from '../src/engines/nova/declaration.js';
import { thisHost } from '../src/services/engine/this-host.js';
import { withEngineTables } from './engine-tables.js';

const path = new URL('../docs/engines.md', import.meta.url);
await writeFile(path, withEngineTables(await readFile(path, 'utf8'), [thisHost, openStack]));
