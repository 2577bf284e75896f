import { readFile } from 'node:fs/promises';
import type { BuiltInTemplate } from '../../ports/index.js';

/** The package's own templates lie beside dist/ and src/, in the repository and installed alike. */
const directory = new URL('../../../templates/', import.meta.url);

const files: Record<BuiltInTemplate, string> = {
  domain: 'domain.xml.hbs',
  'user-data': 'cloud-init/user-data.hbs',
  'meta-data': 'cloud-init/meta-data.hbs',
  'fix-up': 'guest/fix-up.sh',
};

export function readBuiltInTemplate(name: BuiltInTemplate): Promise<string> {
  return readFile(new URL(files[name], directory), 'utf8');
}
