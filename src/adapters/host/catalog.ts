import { readFile } from 'node:fs/promises';
import { packageRoot } from './package-root.js';

/** @returns the text of the built-in catalog, JSON */
export function readBuiltInCatalog(): Promise<string> {
  return readFile(new URL('catalog/images.json', packageRoot), 'utf8');
}
