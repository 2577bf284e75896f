import { describe, expect, it } from 'vitest';
import { renderCatalog } from '../../../src/cli/render/catalog.js';
import { displayWidth } from '../../../src/cli/terminal/layout.js';
import { type CatalogRow, listCatalog } from '../../../src/services/base/catalog.js';
import { textOf } from '../../support/docs/pages.js';

const unused = async (): Promise<never> => Promise.reject(new Error('not used'));
const ports = {
  builtInCatalog: async () => textOf('catalog/images.json'),
  readFile: unused,
  downloads: {} as never,
  bases: { list: async () => ({ bases: [], damaged: [] }) } as never,
};
const since = '2026-11-23T02:53:56.839Z';

async function rows(names: string[] = []): Promise<CatalogRow[]> {
  const { images } = await listCatalog(ports, { names });
  return images.map((image) => ({ ...image, inStore: { ref: `${image.name}@1a2b3c4d5e6f`, since } }));
}

describe('the catalog on a terminal', () => {
  it('shows all columns and whole names within 80 columns', async () => {
    const lines = renderCatalog(await rows(), { details: false, width: 80 }).split('\n');
    expect(lines[0]).toMatch(/^NAME +TITLE +ARCH +USER +MEMORY +IN STORE$/);
    expect(lines[1]).toMatch(/^debian-13 +Debian 13 +both +debian +512 MiB +2026-11-23$/);
    expect(lines).toContainEqual(expect.stringMatching(/^arch +Arch Linux +x86_64 +arch +512 MiB +2026-11-23$/));
    expect(lines).toHaveLength(1 + (await rows()).length);
    for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(80);
    expect(lines.join('\n')).not.toContain('…');
  });

  it('shows the addresses and defaults of one image, and how to download it', async () => {
    const text = renderCatalog(await rows(['fedora']), { details: true });
    expect(text).toMatch(/^image +fedora-44$/m);
    expect(text).toMatch(/^user +fedora$/m);
    expect(text).toMatch(/^memory +1 GiB or more$/m);
    expect(text).toMatch(/^x86_64 +https:\/\/download\.fedoraproject\.org\/\S+\.x86_64\.qcow2$/m);
    expect(text).toMatch(/^ {2}list +https:\/\/\S+-x86_64-CHECKSUM \(sha256\)$/m);
    expect(text).toMatch(/^ {2}signed +in the list$/m);
    expect(text).toMatch(/^ {2}firmware +uefi$/m);
    expect(text).toMatch(/^in store +fedora-44@1a2b3c4d5e6f, since 2026-11-23 02:53$/m);
    expect(text).toMatch(/\nTo download it: cowherd base pull fedora-44$/);
  });

  it('says that nothing was found', () => expect(renderCatalog([], { details: false })).toBe('The catalog has no such images.'));
});
