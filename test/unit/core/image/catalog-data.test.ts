import { describe, expect, it } from 'vitest';
import { architectures, type CatalogFile, catalogSchema } from '../../../../src/core/image/catalog.js';
import { checkCatalog } from '../../../../src/core/image/catalog-file.js';
import { findImage, mergeCatalogs } from '../../../../src/core/image/catalogs.js';
import { textOf } from '../../../support/docs/pages.js';

const catalog = checkCatalog(JSON.parse(textOf('catalog/images.json')), 'catalog/images.json');
const merged = mergeCatalogs([{ catalog, source: 'built-in' }]);
const files = catalog.images.flatMap((image) =>
  architectures.flatMap((architecture): Array<[string, CatalogFile]> => {
    const file = image.files[architecture];
    return file === undefined ? [] : [[`${image.name} ${architecture}`, file]];
  }),
);

describe('the built-in catalog', () => {
  it('has images of the common distributions', () => {
    expect(catalogSchema.parse(catalog)).toEqual(catalog);
    expect(catalog.updated).toMatch(/^20\d\d-\d\d-\d\d$/);
    for (const word of [
      'debian',
      'ubuntu',
      'fedora',
      'almalinux',
      'rocky',
      'centos',
      'opensuse',
      'arch',
      'alpine',
      'amazonlinux',
      'freebsd',
    ])
      expect(findImage(merged, word, 'x86_64').file.url, word).toMatch(/^https:/);
  });

  it('leads from each alias to the image that has it', () => {
    for (const { name, aliases } of catalog.images) {
      for (const alias of aliases) expect([alias, findImage(merged, alias, 'x86_64').image.name]).toEqual([alias, name]);
    }
    expect(merged.aliases.size).toBe(catalog.images.flatMap(({ aliases }) => aliases).length);
  });

  it('says for each image how to log in, how long to wait, and what it needs', () => {
    for (const { name, title, defaults } of catalog.images) {
      expect([name, title, defaults]).toEqual([
        name,
        expect.stringMatching(/^(openSUSE|[A-Z])/),
        {
          sshUser: expect.any(String),
          seed: 'nocloud',
          firmware: 'bios',
          wait: expect.stringMatching(/^(cloud-init|ssh)$/),
          memoryMiB: expect.any(Number),
        },
      ]);
    }
  });

  it.each(files)('%s has encrypted addresses, a list and a known kind of file', (_name, { url, list }) => {
    const addresses = [url, list?.url, list?.signature].filter((one) => one !== undefined && one !== 'inline');
    for (const address of addresses) expect(address).toMatch(/^https:\/\/[a-z0-9.-]+\/\S+$/);
    expect(url).toMatch(/\.(qcow2|img|qcow2\.xz)$/);
    // The name of the list says which digests are in it.
    expect([list?.url, list?.hash]).toEqual([
      expect.stringMatching(list?.hash === 'sha512' ? /sha512/i : /^(?!.*sha512)/i),
      expect.stringMatching(/^sha(256|512)$/),
    ]);
    expect(list?.keyrings.every((path) => path.startsWith('/'))).toBe(true);
    expect(list?.signature === undefined, 'a signature is of use only with a key').toBe(list?.keyrings.length === 0);
  });

  it.each(files)('the files of %s are those of its architecture', (name, { url, firmware }) => {
    const isArm = name.endsWith('aarch64');
    expect(/aarch64|arm64/.test(url)).toBe(isArm);
    expect(/x86_64|amd64/.test(url)).toBe(!isArm);
    expect(firmware).toBe(isArm ? 'uefi' : undefined);
  });

  it('gives images for aarch64 UEFI firmware', () => {
    expect(findImage(merged, 'debian', 'aarch64').defaults).toMatchObject({ firmware: 'uefi', sshUser: 'debian' });
    expect(findImage(merged, 'debian', 'x86_64').defaults).toMatchObject({ firmware: 'bios' });
  });
});
