import { readFile } from 'node:fs/promises';
import type { BuiltInTemplate } from '../../ports/index.js';
import { packageRoot } from './package-root.js';

const directory = new URL('templates/', packageRoot);

const files: Partial<Record<BuiltInTemplate, string>> = {
  domain: 'domain.xml.hbs',
  'user-data': 'cloud-init/user-data.hbs',
  'meta-data': 'cloud-init/meta-data.hbs',
  'report/style': 'report/style.css',
  'report/script': 'report/script.js',
};

export function readBuiltInTemplate(name: BuiltInTemplate): Promise<string> {
  return readFile(new URL(files[name] ?? `${name}.sh`, directory), 'utf8');
}
