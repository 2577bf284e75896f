/** Text encoding of OpenPGP data: RFC 9580, chapter 6. */

const kinds = 'PUBLIC KEY BLOCK|SIGNATURE';
const blocks = new RegExp(`-----BEGIN PGP (${kinds})-----[ \\t]*\\r?\\n([^-]*)-----END PGP \\1-----`, 'g');

export function isArmored(data: Buffer): boolean {
  return data.subarray(0, 64 * 1024).includes('-----BEGIN PGP ');
}

/**
 * The data of all blocks in a text, one after the other.
 * @returns undefined if there is none, or one is damaged
 */
export function decodeArmor(text: string): Buffer | undefined {
  const decoded = [...text.matchAll(blocks)].map(([, , inner = '']) => decodeBlock(inner));
  return decoded.length === 0 || decoded.some((block) => block === undefined) ? undefined : Buffer.concat(decoded as Buffer[]);
}

/** @param inner headers, an empty line, base64, and a checksum that newer tools leave out */
function decodeBlock(inner: string): Buffer | undefined {
  const lines = inner.split(/\r?\n/).map((line) => line.trim());
  const empty = lines.indexOf('');
  const content = lines.slice(lines.slice(0, empty).every((line) => /^[\w-]+: /.test(line)) ? empty + 1 : 0).filter((line) => line !== '');
  const last = content.at(-1) ?? '';
  const checksum = /^=([A-Za-z0-9+/]{4})$/.exec(last)?.[1];
  const base64 = (checksum === undefined ? content : content.slice(0, -1)).join('');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const data = Buffer.from(base64, 'base64');
  return checksum === undefined || crc24(data) === Buffer.from(checksum, 'base64').readUIntBE(0, 3) ? data : undefined;
}

function crc24(data: Buffer): number {
  let crc = 0xb704ce;
  for (const byte of data) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit += 1) {
      crc <<= 1;
      if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb;
    }
  }
  return crc & 0xffffff;
}
