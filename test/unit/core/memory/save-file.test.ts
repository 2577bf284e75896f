import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { composeSaveHead, parseSaveHead, parseSaveHeader, saveHeaderBytes } from '../../../../src/core/memory/save-file.js';

/** As libvirt writes it: XML and cookie as NUL-terminated strings, and padding. */
function saved({ xml = '<domain/>', cookie = '<cookie/>', room = 64, words = {} as Record<number, number> } = {}): Buffer {
  const text = Buffer.from(`${xml}\0`);
  const data = Buffer.concat([text, Buffer.from(cookie === '' ? '' : `${cookie}\0`), Buffer.alloc(room)]);
  const header = Buffer.alloc(saveHeaderBytes);
  header.write('LibvirtQemudSave', 'latin1');
  const all = { 16: 2, 20: data.length, 24: 1, 28: 0, 32: cookie === '' ? 0 : text.length, ...words };
  for (const [offset, value] of Object.entries(all)) header.writeUInt32LE(value, Number(offset));
  return Buffer.concat([header, data, Buffer.from('QEVM and the memory')]);
}

const parse = (file: Buffer) => parseSaveHead('golden.save', file, file.length);

describe('the header of a save file', () => {
  it('is read', () => {
    const head = parse(saved({ xml: '<domain>gölden</domain>' }));
    expect(head).toMatchObject({ xml: '<domain>gölden</domain>', wasRunning: true });
    expect(String(head.cookie)).toBe('<cookie/>');
    expect(parse(saved({ cookie: '' })).cookie).toHaveLength(0);
  });

  it('is written for another domain in the same place, with the same cookie', () => {
    const file = saved();
    const head = parse(file);
    const xml = `<domain>${'x'.repeat(40)}</domain>`;
    const written = composeSaveHead(head, xml);
    expect(written).toHaveLength(head.streamOffset);
    const other = Buffer.concat([written, file.subarray(head.streamOffset)]);
    expect(parse(other)).toEqual({ ...head, xml, cookieOffset: xml.length + 1 });
    // And back, byte for byte as libvirt wrote it.
    expect(composeSaveHead(parse(other), '<domain/>')).toEqual(file.subarray(0, head.streamOffset));
  });

  it('has limited space for the XML', () => {
    const head = parse(saved({ room: 10 }));
    expect(() => composeSaveHead(head, `<domain/>${'x'.repeat(10)}`)).not.toThrow();
    expect(() => composeSaveHead(head, `<domain/>${'x'.repeat(11)}`)).toThrow(/1 bytes longer/);
  });

  it.each([
    ['another file', Buffer.alloc(4096), /not a libvirt save file/],
    ['one that is empty', Buffer.alloc(0), /not a libvirt save file/],
    ['one that was cut in its header', saved().subarray(0, 60), /too short/],
    ['one without its memory', saved().subarray(0, saveHeaderBytes + 83), /ends before the memory/],
    ['one that was not finished', Buffer.concat([Buffer.from('LibvirtQemudPart'), saved().subarray(16)]), /is incomplete/],
    ['a newer version', saved({ words: { 16: 3 } }), /version 3/],
    ['another byte order', saved({ words: { 16: 0x02000000 } }), /version 33554432/],
    ['gzip', saved({ words: { 28: 1 } }), /compressed \(gzip\)/],
    ['a format of the future', saved({ words: { 28: 9 } }), /compressed \(format 9\)/],
    ['unknown fields', saved({ words: { 40: 1 } }), /unknown fields in its header/],
    ['no data', saved({ words: { 20: 0, 32: 0 } }), /inconsistent header/],
    ['data beyond all measure', saved({ words: { 20: 0xffffffff } }), /inconsistent header/],
    ['a cookie outside of the data', saved({ words: { 32: 4000 } }), /inconsistent header/],
    ['a cookie within the XML', saved({ words: { 32: 4 } }), /no domain in its header/],
    ['a cookie behind a gap', saved({ words: { 32: 12 } }), /no domain in its header/],
    ['no XML', saved({ xml: '' }), /no domain in its header/],
  ])('is refused: %s', (_what, file, message) => {
    expect(() => parse(file)).toThrow(message);
  });

  it('is refused or read for any content, without other errors', () => {
    const word = fc.record({ offset: fc.integer({ min: 0, max: 30 }), value: fc.nat({ max: 0xffffffff }) });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 4 }), fc.nat({ max: 220 }), (changes, length) => {
        const file = saved();
        for (const { offset, value } of changes) file.writeUInt32LE(value, offset * 4);
        const cut = file.subarray(0, length);
        try {
          const { streamOffset } = parseSaveHeader('x', cut, cut.length);
          expect(streamOffset).toBeLessThan(cut.length);
          const head = parse(cut);
          expect(composeSaveHead(head, head.xml)).toHaveLength(streamOffset);
        } catch (error) {
          expect(['BASE_REFUSED', 'NOT_SUPPORTED']).toContain((error as { code?: string }).code);
        }
      }),
    );
  });
});
