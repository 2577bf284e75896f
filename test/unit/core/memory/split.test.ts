import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeMemory, MemoryMerger } from '../../../../src/core/memory/merge.js';
import { encodeBlocks, encodePage } from '../../../../src/core/memory/migration-encoding.js';
import { pageBytes, UnknownStreamError } from '../../../../src/core/memory/migration-stream.js';
import { MemorySplitter, ownBlock, sharedBlock } from '../../../../src/core/memory/split.js';
import { runsOf } from '../../../support/long.js';

const pages = 24;
const bytes = pages * pageBytes;
const section = 2;
const devices = Buffer.from('\x04\0\0\0\x01\x05timer and more\x7e\0\0\0\x01\0\x06{"devices": []}', 'latin1');

function be32(...values: number[]): Buffer {
  const out = Buffer.alloc(4 * values.length);
  values.forEach((value, position) => void out.writeUInt32BE(value, 4 * position));
  return out;
}
const startOf = (kind: number): Buffer => Buffer.concat([Buffer.of(kind), be32(section)]);
const endOf = Buffer.concat([be32(0, 0x10), Buffer.of(0x7e), be32(section)]);
const beginning = Buffer.concat([be32(0x5145564d, 3), Buffer.of(7), be32(2), Buffer.from('pc')]);
const ramStart = Buffer.concat([startOf(1), Buffer.from('\x03ram', 'latin1'), be32(0, 4)]);

interface Page {
  block: string;
  page: number;
  /** The byte that the page begins with, before its number; 0 for a zero page. */
  value: number;
}

const vram = { name: 'vga.vram', bytes: 2 * pageBytes };

function contentOf({ page, value }: Page): Buffer | number {
  if (value === 0) return 0;
  const content = Buffer.alloc(pageBytes, value);
  content.writeUInt32BE(page, 8);
  return content;
}

/** A stream as QEMU writes it, and the positions of bytes that are content of pages. @param parts numbers of pages per section */
function streamOf(sent: readonly Page[], parts: readonly number[], main = ownBlock): { stream: Buffer; contents: [number, number][] } {
  const pieces: Buffer[] = [beginning, ramStart, encodeBlocks([{ name: main, bytes }, vram]), endOf];
  const contents: [number, number][] = [];
  let length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const add = (piece: Buffer): void => {
    pieces.push(piece);
    length += piece.length;
  };
  let last: string | undefined;
  let from = 0;
  for (const [position, count] of [...parts, sent.length].entries()) {
    const until = position === parts.length ? sent.length : Math.min(sent.length, from + count);
    add(startOf(position === parts.length ? 3 : 2));
    for (const page of sent.slice(from, until)) {
      const content = contentOf(page);
      add(encodePage(page.block === last ? undefined : page.block, page.page * pageBytes, content));
      if (page.block === vram.name || typeof content !== 'number')
        contents.push([length - (typeof content === 'number' ? 1 : pageBytes), length]);
      last = page.block;
    }
    add(endOf);
    from = until;
  }
  add(devices);
  return { stream: Buffer.concat(pieces), contents };
}

function split(stream: Buffer, chunks: readonly number[] = [stream.length]): { memory: Buffer; state: Buffer } {
  const splitter = new MemorySplitter(bytes);
  const memory = Buffer.alloc(bytes);
  const state: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < stream.length; turn++) {
    const next = at + Math.max(1, chunks[turn % chunks.length] ?? 1);
    const chunk = Buffer.from(stream.subarray(at, next));
    const part = splitter.push(chunk);
    // A caller may use its buffer again.
    chunk.fill(0xff);
    for (const run of part.runs) run.bytes.copy(memory, run.offset);
    state.push(...part.state);
    at = next;
  }
  splitter.end();
  return { memory, state: Buffer.concat(state) };
}

function merge(state: Buffer, memory: Buffer, chunk: number): Buffer {
  const merger = new MemoryMerger();
  const out: Buffer[] = [];
  for (let at = 0; at < state.length; at += chunk) {
    const { before, after } = merger.push(state.subarray(at, at + chunk));
    out.push(before);
    if (after !== undefined) out.push(encodeMemory(0, memory), after);
  }
  merger.end();
  return Buffer.concat(out);
}

function memoryOf(sent: readonly Page[]): Buffer {
  const memory = Buffer.alloc(bytes);
  for (const page of sent.filter(({ block }) => block !== vram.name)) {
    const content = contentOf(page);
    if (typeof content === 'number') memory.fill(0, page.page * pageBytes, (page.page + 1) * pageBytes);
    else content.copy(memory, page.page * pageBytes);
  }
  return memory;
}

/** Each page of the main memory once in any order, some again, and pages of another block in between. */
const anySent = (main = ownBlock) =>
  fc
    .tuple(
      fc.shuffledSubarray([...Array(pages).keys()], { minLength: pages }),
      fc.array(fc.nat(pages - 1), { maxLength: 6 }),
      fc.array(fc.nat(3), { minLength: pages + 6, maxLength: pages + 6 }),
      fc.array(fc.nat(pages), { maxLength: 3 }),
    )
    .map(([order, again, values, others]) => {
      const sent = [...order, ...again].map((page, position): Page => ({ block: main, page, value: values[position] ?? 0 }));
      for (const [position, at] of others.entries()) sent.splice(at, 0, { block: vram.name, page: position % 2, value: position });
      return sent;
    });
const anyParts = fc.array(fc.nat(pages), { maxLength: 4 });
const anyChunks = fc.array(fc.integer({ min: 1, max: 3 * pageBytes }), { minLength: 1, maxLength: 5 });
const refused = (work: () => unknown): string => {
  try {
    work();
    return 'accepted';
  } catch (error) {
    if (error instanceof UnknownStreamError) return error.message;
    throw error;
  }
};

describe('a split of a saved guest', () => {
  it('has every page at its place, and the rest of the stream without it', () => {
    fc.assert(
      fc.property(anySent(), anyParts, anyChunks, (sent, parts, chunks) => {
        const { memory, state } = split(streamOf(sent, parts).stream, chunks);
        expect(memory.equals(memoryOf(sent))).toBe(true);
        const rest = sent.filter(({ block }) => block === vram.name);
        expect(state.length).toBeLessThan(500 + rest.length * (pageBytes + 32) + parts.length * 32);
        expect(state.includes(ownBlock)).toBe(false);
        expect(state.includes(sharedBlock)).toBe(true);
        expect(state.subarray(-devices.length).equals(devices)).toBe(true);
      }),
      { numRuns: runsOf(60) },
    );
  });

  it('is undone by a merge: the same memory and the same devices', () => {
    fc.assert(
      fc.property(anySent(sharedBlock), anyParts, fc.integer({ min: 1, max: 9000 }), (sent, parts, chunk) => {
        const { memory, state } = split(streamOf(sent, parts, sharedBlock).stream);
        const whole = merge(state, memory, chunk);
        expect(whole.includes(sharedBlock)).toBe(false);
        // QEMU does not need the zero pages. Here they complete the memory again.
        const zero = [...Array(pages).keys()].filter((page) =>
          memory.subarray(page * pageBytes, (page + 1) * pageBytes).every((byte) => byte === 0),
        );
        const first = whole.indexOf(endOf) + endOf.length;
        const zeros = Buffer.concat([startOf(2), ...zero.map((page) => encodePage(ownBlock, page * pageBytes, 0)), endOf]);
        const again = split(Buffer.concat([whole.subarray(0, first), zeros, whole.subarray(first)]));
        expect(again.memory.equals(memory)).toBe(true);
        expect(again.state.filter((byte) => byte === 0x7e).length).toBeGreaterThan(0);
      }),
      { numRuns: runsOf(40) },
    );
  });

  it('is refused if the stream ends before its devices', () => {
    fc.assert(
      fc.property(anySent(), anyParts, fc.double({ min: 0, max: 0.999, noNaN: true }), (sent, parts, where) => {
        const { stream } = streamOf(sent, parts);
        const end = Math.floor((stream.length - devices.length) * where);
        expect(refused(() => split(stream.subarray(0, end)))).not.toBe('accepted');
      }),
      { numRuns: runsOf(60) },
    );
  });

  it('never has wrong memory if a byte of the stream is wrong that is not content', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...Array(pages).keys()], { minLength: pages }),
        anyParts,
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        (order, parts, where, change) => {
          const sent = order.map((page, position): Page => ({ block: ownBlock, page, value: position % 3 }));
          const { stream, contents } = streamOf(sent, parts);
          const framing = [...Array(stream.length - devices.length).keys()].filter(
            (at) => !contents.some(([from, to]) => at >= from && at < to),
          );
          const at = framing[Math.floor(framing.length * where)] ?? 0;
          stream[at] = (stream[at] ?? 0) ^ change;
          let memory: Buffer | undefined;
          refused(() => {
            memory = split(stream).memory;
          });
          if (memory !== undefined) expect(memory.equals(memoryOf(sent)), `byte ${at}`).toBe(true);
        },
      ),
      { numRuns: runsOf(300) },
    );
  });

  it.each<[string, Buffer[]]>([
    ['it does not begin like a stream of QEMU', [be32(0x5145564d, 4)]],
    ['its configuration is unknown', [be32(0x5145564d, 3), Buffer.of(7), be32(5000)]],
    ['a section has the unknown kind 5', [beginning, Buffer.of(5)]],
    ['a section other than the memory comes in parts', [beginning, startOf(1), Buffer.from('\x05block\0\0\0\0\0\0', 'latin1')]],
    ['its memory has version 5', [beginning, startOf(1), Buffer.from('\x03ram', 'latin1'), be32(0, 5)]],
    ['its memory begins twice', [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes }]), endOf, ramStart]],
    ['a page has the unknown flags 0x100', [beginning, ramStart, be32(0, 0x100)]],
    ['a page belongs to an unknown block, "pc.ram"', [beginning, ramStart, encodePage(ownBlock, 0, 0)]],
    ['a page does not name its block', [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes }]), encodePage(undefined, 0, 0)]],
    ['a page is outside of pc.ram', [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes }]), encodePage(ownBlock, bytes, 0)]],
    ['a page is filled with 7', [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes }]), encodePage(ownBlock, 0, 7)]],
    ['its blocks are listed twice', [beginning, ramStart, encodeBlocks([vram, { name: ownBlock, bytes }]), encodeBlocks([vram])]],
    ['the block vga.vram is listed twice', [beginning, ramStart, encodeBlocks([vram, vram])]],
    [
      'the block "a" has 4095 bytes',
      [
        beginning,
        ramStart,
        encodeBlocks([
          { name: 'a', bytes: pageBytes - 1 },
          { name: 'b', bytes: pageBytes + 1 },
        ]),
      ],
    ],
    [
      `its memory is not one block of ${bytes} bytes: pc.ram of 4096 bytes`,
      [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes: pageBytes }])],
    ],
    [`its memory is not one block of ${bytes} bytes: ram-node0`, [beginning, ramStart, encodeBlocks([{ name: 'ram-node0', bytes }])]],
    ['its devices come before the end of its memory', [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes }]), endOf, devices]],
    ['a part belongs to an unknown section', [beginning, startOf(2)]],
    [
      `${pages} pages of its memory are missing`,
      [beginning, ramStart, encodeBlocks([{ name: ownBlock, bytes }]), endOf, startOf(3), endOf, devices],
    ],
  ])('is refused: %s', (message, parts) => {
    expect(refused(() => split(Buffer.concat(parts)))).toBe(message);
  });
});
