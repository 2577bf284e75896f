import { flag, type RamBlock } from './migration-stream.js';

/** Writes the parts of a migration stream that are changed. */

/** The list of blocks, as the parser reads it. */
export function encodeBlocks(blocks: readonly RamBlock[]): Buffer {
  const total = blocks.reduce((sum, { bytes }) => sum + bytes, 0);
  return Buffer.concat([word(total, flag.sizes), ...blocks.flatMap(({ name, bytes }) => [encodeName(name), word(bytes, 0)])]);
}

/** A page, as the parser reads it. @param block undefined: the same as that of the page before */
export function encodePage(block: string | undefined, offset: number, content: Buffer | number): Buffer {
  const flags = (typeof content === 'number' ? flag.zero : flag.page) | (block === undefined ? flag.sameBlock : 0);
  return Buffer.concat([
    word(offset, flags),
    ...(block === undefined ? [] : [encodeName(block)]),
    typeof content === 'number' ? Buffer.of(content) : content,
  ]);
}

function word(offset: number, flags: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(offset) | BigInt(flags));
  return bytes;
}

function encodeName(name: string): Buffer {
  return Buffer.concat([Buffer.of(name.length), Buffer.from(name, 'latin1')]);
}
