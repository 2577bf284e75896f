import type { ImageFile, Ports } from '../../../ports/index.js';
import type { MemberDetail } from '../../protocol.js';

type Link = MemberDetail['disks'][number]['chain'][number];

const mostLinks = 64;

/** An overlay and its backing files, from the headers. Ends where a file cannot be read. */
export async function diskChain(ports: Pick<Ports, 'disks' | 'images'>, overlay: string): Promise<Link[]> {
  const chain: Link[] = [];
  for (let image: ImageFile | undefined = { path: overlay, format: 'qcow2' }; image !== undefined && chain.length < mostLinks; ) {
    const found: { link: Link; below: ImageFile | undefined } | undefined = await readLink(ports, image).catch(() => undefined);
    if (found === undefined) break;
    chain.push(found.link);
    image = found.below;
  }
  return chain;
}

async function readLink(
  { disks, images }: Pick<Ports, 'disks' | 'images'>,
  { path, format }: ImageFile,
): Promise<{ link: Link; below: ImageFile | undefined } | undefined> {
  // A tool would open the file that it names.
  if (format === 'qcow2' && (await disks.qcow2Header(path)).externalDataFile) return undefined;
  const [info, allocatedBytes = 0] = await Promise.all([images.info(path, format, true), disks.allocatedBytes(path)]);
  const { backing, virtualBytes } = info;
  const isKnown = backing?.path.startsWith('/') === true && (backing.format === 'qcow2' || backing.format === 'raw');
  return {
    link: { path, format, virtualBytes, allocatedBytes },
    below: isKnown ? { path: backing.path, format: backing.format === 'raw' ? 'raw' : 'qcow2' } : undefined,
  };
}
