import { CowherdError } from './errors.js';
import { maxLength } from './limits.js';

/** Names of fleets and base images: safe in paths, XML, host names and command lines. */
export const namePattern = new RegExp(`^[a-z0-9][a-z0-9-]{0,${maxLength.name - 1}}$`);

export const nameRule = `lower-case letters, digits and hyphens, starting with a letter or digit, at most ${maxLength.name} characters`;

export function assertName(kind: 'fleet' | 'base', name: string): string {
  if (!namePattern.test(name)) {
    throw new CowherdError('BAD_USAGE', `${JSON.stringify(clip(name))} is not a ${kind} name`, {
      hint: `A ${kind} name has ${nameRule}.`,
    });
  }
  return name;
}

/** The nearest valid base name for a file name; undefined if no character of it is valid. */
export function baseNameFromFile(fileName: string): string | undefined {
  // The name of what is in a compressed file: golden.qcow2.xz, golden.tar.gz.
  const unpacked = fileName.replace(/(\.(?:qcow2?|img|raw|vmdk|vhdx?|vdi|ova|box|tar))\.(?:gz|xz|zst|bz2)$/i, '$1');
  const name = unpacked
    .replace(/\.[A-Za-z0-9]{1,8}$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, maxLength.name)
    .replace(/-+$/, '');
  return name === '' ? undefined : name;
}

/** The name of an import: the given one, or one from the name of the file. @throws BAD_USAGE */
export function importName(fileName: string, given: string | undefined): string {
  const name = given ?? baseNameFromFile(fileName);
  if (name === undefined) {
    throw new CowherdError('BAD_USAGE', `Cannot derive a base name from the file name ${fileName}`, { hint: 'Rename the file.' });
  }
  return assertName('base', name);
}

export function memberName(fleet: string, index: number): string {
  return `${fleet}-${String(index).padStart(3, '0')}`;
}

function clip(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
