import type { CatalogFile } from '../../core/image/catalog.js';
import type { CatalogRow } from '../../services/base/catalog.js';
import { bytes, type Column, table } from '../terminal/format.js';
import { hang, page, widthOf } from '../terminal/layout.js';

const MiB = 1024 ** 2;

/**
 * @param options.details show everything about the first image, instead of a table
 * @param options.width of the table; default: that of the terminal
 */
export function renderCatalog(images: readonly CatalogRow[], { details, width }: { details: boolean; width?: number }): string {
  const [only] = images;
  if (only === undefined) return 'The catalog has no such images.';
  if (details) return renderImage(only);
  const columns: Column<CatalogRow>[] = [
    { title: 'NAME', value: ({ name }) => name },
    { title: 'TITLE', value: ({ title }) => title },
    { title: 'ARCH', value: ({ architectures }) => (architectures.length > 1 ? 'both' : (architectures[0] ?? '-')) },
    { title: 'USER', value: ({ defaults }) => defaults.sshUser ?? '-' },
    { title: 'MEMORY', value: ({ defaults }) => memoryText(defaults.memoryMiB) ?? '-', align: 'right' },
    { title: 'IN STORE', value: ({ inStore }) => inStore?.since.slice(0, 10) ?? '-' },
  ];
  return table(images, columns, width);
}

function renderImage(image: CatalogRow): string {
  const { defaults, inStore } = image;
  const rows: Array<[string, string | undefined]> = [
    ['image', image.name],
    ['title', image.title],
    ['aliases', image.aliases.join(', ') || undefined],
    ['catalog', image.source],
    ['user', defaults.sshUser],
    ['memory', defaults.memoryMiB === undefined ? undefined : `${memoryText(defaults.memoryMiB)} or more`],
    ['firmware', defaults.firmware],
    ['seed', defaults.seed],
    ['wait', defaults.wait],
    ...image.architectures.flatMap((architecture) => fileRows(architecture, image.files[architecture])),
    ['in store', inStore === null ? 'no' : `${inStore.ref}, since ${inStore.since.slice(0, 16).replace('T', ' ')}`],
  ];
  const width = widthOf(process.stdout);
  const told = rows.flatMap(([key, value]) => (value === undefined ? [] : [[key.padEnd(11), value] as const]));
  const lines = told.map(([begin, value]) => (width === undefined ? `${begin}${value}` : hang(begin, value, width)));
  return [...lines, page(`To download it: cowherd base pull ${image.name}`)].join('\n');
}

function fileRows(architecture: string, file: CatalogFile | undefined): Array<[string, string | undefined]> {
  if (file === undefined) return [];
  const { list } = file;
  return [
    [architecture, file.url],
    ['  firmware', file.firmware],
    ['  list', list === undefined ? 'none: only a digest that you give can verify it' : `${list.url} (${list.hash})`],
    ['  signed', list === undefined ? undefined : signatureText(list)],
    ['  keys', list === undefined || list.keyrings.length === 0 ? undefined : list.keyrings.join(', ')],
  ];
}

function signatureText({ signature }: NonNullable<CatalogFile['list']>): string {
  return signature === undefined ? 'no' : signature === 'inline' ? 'in the list' : signature;
}

function memoryText(mib: number | undefined): string | undefined {
  return mib === undefined ? undefined : bytes(mib * MiB);
}
