import { readFile } from 'node:fs/promises';
import type { BuiltInTemplate } from '../../ports/index.js';
import { packageRoot } from './package-root.js';

const directory = new URL('templates/', packageRoot);

const files: Record<BuiltInTemplate, string> = {
  domain: 'domain.xml.hbs',
  'user-data': 'cloud-init/user-data.hbs',
  'meta-data': 'cloud-init/meta-data.hbs',
  'fix-up': 'guest/fix-up.sh',
};

export function readBuiltInTemplate(name: BuiltInTemplate): Promise<string> {
  return readFile(new URL(files[name], directory), 'utf8');
}
