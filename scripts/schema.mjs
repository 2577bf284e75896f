// Writes schemas/fleet.schema.json from the zod schema, for editors: `npm run schema`.
import { writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { fleetFileSchema } from '../dist/core/spec.js';

const path = new URL('../schemas/fleet.schema.json', import.meta.url);
await writeFile(path, `${JSON.stringify(z.toJSONSchema(fleetFileSchema, { io: 'input' }), undefined, 2)}\n`);
