import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The package's own templates lie beside dist/ and src/, in the repository and installed alike. */
const directory = new URL('../../templates/', import.meta.url);

export const builtInTemplatePath = fileURLToPath(new URL('domain.xml.hbs', directory));

export function readBuiltInTemplate(): Promise<string> {
  return readFile(builtInTemplatePath, 'utf8');
}
