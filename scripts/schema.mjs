// Writes schemas/fleet.schema.json from the zod schema, for editors: `npm run schema`.
import { writeFile } from 'node:fs/promises';
import { fleetFileJsonSchema } from '../dist/core/spec/file-schema.js';

const path = new URL('../schemas/fleet.schema.json', import.meta.url);
await writeFile(path, `${JSON.stringify(fleetFileJsonSchema(), undefined, 2)}\n`);
