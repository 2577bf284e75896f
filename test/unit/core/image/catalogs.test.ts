import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CowherdError } from '../../../../src/core/errors.js';
import type { Catalog } from '../../../../src/core/image/catalog.js';
import { checkCatalog, parseCatalog } from '../../../../src/core/image/catalog-file.js';
import { findImage, lookUpImage, mergeCatalogs } from '../../../../src/core/image/catalogs.js';

const catalogOf = (...images: object[]): Catalog =>
  checkCatalog({ images: images.map((image) => ({ files: { x86_64: { url: 'https://a.example/x.qcow2' } }, ...image })) }, 'x');
const merge = (...catalogs: Catalog[]) => mergeCatalogs(catalogs.map((catalog, index) => ({ catalog, source: `catalog ${index}` })));

function refused(work: () => unknown): Partial<CowherdError> {
  try {
    work();
  } catch (error) {
    if (error instanceof CowherdError) return error;
    throw error;
  }
  throw new Error('not refused');
}

describe('several catalogs', () => {
  const builtIn = catalogOf({ name: 'debian-13', title: 'Debian 13', aliases: ['debian', 'trixie'] }, { name: 'arch' });

  it('are one list, in which later images replace earlier ones', () => {
    const { images } = merge(builtIn, catalogOf({ name: 'mine' }, { name: 'debian-13', title: 'Debian, our mirror' }));
    expect(images.map(({ name, title, source }) => [name, title, source])).toEqual([
      ['debian-13', 'Debian, our mirror', 'catalog 1'],
      ['arch', 'arch', 'catalog 0'],
      ['mine', 'mine', 'catalog 1'],
    ]);
  });

  it('keep the aliases of a replaced image', () => {
    const merged = merge(builtIn, catalogOf({ name: 'debian-13', aliases: ['stable'] }));
    expect(['debian', 'stable'].map((word) => lookUpImage(merged, word).source)).toEqual(['catalog 1', 'catalog 1']);
    expect(merged.images[0]?.aliases).toEqual(['debian', 'trixie', 'stable']);
  });

  it('give a later alias precedence, but never over a name', () => {
    const merged = merge(builtIn, catalogOf({ name: 'mine', aliases: ['debian', 'arch'] }));
    expect(lookUpImage(merged, 'debian').name).toBe('mine');
    expect(lookUpImage(merged, 'arch').name).toBe('arch');
    expect(merged.images.map(({ aliases }) => aliases)).toEqual([['trixie'], [], ['debian']]);
    expect(lookUpImage(merge(builtIn, catalogOf({ name: 'debian' })), 'debian').name).toBe('debian');
  });

  it('find every name as itself, and no alias twice', () => {
    const word = fc.constantFrom('a', 'b', 'c', 'd');
    const image = fc.record({ name: word, aliases: fc.uniqueArray(word, { maxLength: 2 }) });
    const catalog = fc
      .uniqueArray(image, { maxLength: 3, selector: ({ name }) => name })
      .map((images) =>
        catalogOf(...images.map(({ name }) => ({ name }))).images.map((one, index) => ({ ...one, aliases: images[index]?.aliases ?? [] })),
      )
      .map((images): Catalog => ({ version: 1, images }));
    fc.assert(
      fc.property(fc.array(catalog, { maxLength: 3 }), (catalogs) => {
        const merged = merge(...catalogs);
        for (const { name } of merged.images) expect(lookUpImage(merged, name).name).toBe(name);
        const shown = merged.images.flatMap(({ name, aliases }) => [name, ...aliases]);
        expect(new Set(shown).size).toBe(shown.length);
        for (const [alias, name] of merged.aliases) expect(lookUpImage(merged, alias).name).toBe(name);
      }),
    );
  });
});

describe('an image that is not in the catalog', () => {
  const merged = merge(catalogOf({ name: 'debian-13', aliases: ['debian'], files: { aarch64: { url: 'https://a.example/x.qcow2' } } }));

  it('is refused with the name that was probably meant', () => {
    expect(refused(() => lookUpImage(merged, 'debain'))).toMatchObject({
      code: 'BASE_NOT_FOUND',
      message: 'The catalog has no image "debain"',
      hint: 'Did you mean debian? To list all images: cowherd base catalog',
    });
    expect(refused(() => lookUpImage(merged, 'windows')).hint).toBe('To list all images: cowherd base catalog');
  });

  it('is refused with the architectures that exist', () => {
    expect(refused(() => findImage(merged, 'debian', 'x86_64'))).toMatchObject({
      code: 'BASE_NOT_FOUND',
      message: 'debian-13 has no image for x86_64, only for aarch64',
      hint: 'Use an image of that architecture: --arch aarch64',
    });
  });
});

describe('a catalog of your own', () => {
  const details = (text: string): string[] => refused(() => parseCatalog(text, 'mine.yaml')).details ?? [];

  it('needs only names and addresses', () => {
    expect(parseCatalog('images: [{name: mine, files: {x86_64: {url: "http://a/b.qcow2"}}}]', 'mine.yaml').images[0]).toMatchObject({
      name: 'mine',
      aliases: [],
      defaults: {},
    });
  });

  it.each<[string, string]>([
    ['images:\n  - name: a\n    flies: {}', 'mine.yaml:3:5: unknown key "flies"; did you mean "files"?'],
    ['images:\n  - name: a\n    files:\n      amd64: {}', 'mine.yaml:4:7: unknown key "amd64"'],
    ['images:\n  - name: a\n    files:\n      arch64: {}', 'mine.yaml:4:7: unknown key "arch64"; did you mean "aarch64"?'],
    ['images:\n  - name: a\n    files: {}', 'mine.yaml:3:12: images[0].files: has no file: write x86_64 or aarch64'],
    [
      'images:\n  - name: A\n    files: {x86_64: {url: "ftp://a/b"}}',
      'mine.yaml:3:27: images[0].files.x86_64.url: is not an http or https URL',
    ],
    [
      'images:\n  - name: a\n    files:\n      x86_64:\n        url: https://a/b-*.qcow2',
      'mine.yaml:5:14: images[0].files.x86_64.url: has a *, so it needs a list that says which file it is',
    ],
    [
      'images:\n  - name: a\n    files:\n      x86_64:\n        url: https://a/*/b.qcow2\n        list: {url: https://a/b, hash: sha256}',
      'mine.yaml:5:14: images[0].files.x86_64.url: may have one *, in its last part',
    ],
    [
      'images:\n  - name: a\n    files:\n      x86_64:\n        url: https://a/b\n        list: {url: https://a/b, hash: md5}',
      'mine.yaml:6:40: images[0].files.x86_64.list.hash: is none of sha256, sha512',
    ],
    [
      'images:\n  - name: a\n    files:\n      x86_64:\n        url: https://a/b\n        list: {url: https://a/b, hash: sha256, keyrings: [k.gpg]}',
      'mine.yaml:6:59: images[0].files.x86_64.list.keyrings[0]: is not an absolute path',
    ],
    [
      'images:\n  - name: a\n    defaults: {sshUser: -oProxy}\n    files: {x86_64: {url: https://a/b}}',
      'images[0].defaults.sshUser: is not a user name',
    ],
    ['name: lab\ncount: 3', 'unknown key "name"'],
    ['[]', 'expected object'],
  ])('%j is refused at its place', (text, expected) => {
    expect(details(text)).toContainEqual(expect.stringContaining(expected));
  });

  it('is refused if it uses a name twice', () => {
    const file = 'files: {x86_64: {url: https://a/b}}';
    expect(details(`images:\n  - {name: a, ${file}}\n  - {name: b, aliases: [c, a], ${file}}\n  - {name: c, ${file}}`)).toEqual([
      'mine.yaml:3:28: images[1].aliases[1]: a is already a name of images[0]',
      'mine.yaml:4:12: images[2].name: c is already a name of images[1]',
    ]);
  });

  it('is refused with the position of a syntax error', () => {
    expect(refused(() => parseCatalog('images: [', 'mine.yaml'))).toMatchObject({
      code: 'BAD_SPEC',
      message: expect.stringMatching(/^mine\.yaml:1:\d+: invalid YAML: /),
    });
  });
});
