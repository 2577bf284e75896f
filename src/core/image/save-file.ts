import { CowherdError } from '../errors.js';

/**
 * The head of the file that libvirt saves a running domain in: who it is, before the stream of its memory. Numbers are in the byte
 * order of the host. Source: libvirt src/qemu/qemu_saveimage.h, version 2.
 */

/** Bytes of the fixed part. */
export const saveHeaderBytes = 92;

const magic = 'LibvirtQemudSave';
/** What stands there while libvirt still writes the file. */
const partialMagic = 'LibvirtQemudPart';
const knownVersion = 2;
/** Far more than any domain's XML, with the room that libvirt leaves for edits. */
const mostDataBytes = 16 * 1024 * 1024;
const formats = ['raw', 'gzip', 'bzip2', 'xz', 'lzop', 'zstd'];

const at = { version: 16, dataBytes: 20, wasRunning: 24, format: 28, cookieOffset: 32, reserved: 36 };

export interface SaveHeader {
  /** Of the XML, libvirt's cookie and zeros together. */
  dataBytes: number;
  /** Where the cookie begins in these; 0 where there is none. */
  cookieOffset: number;
  wasRunning: boolean;
  /** Where the stream of the memory begins in the file. */
  streamOffset: number;
}

export interface SaveHead extends SaveHeader {
  xml: string;
  /** libvirt's own notes for the domain; opaque. */
  cookie: Buffer;
}

/**
 * @param bytes the beginning of the file
 * @param fileBytes how long it is
 * @throws BASE_REFUSED where it is not a whole save file of a kind that is known
 */
export function parseSaveHeader(path: string, bytes: Buffer, fileBytes: number): SaveHeader {
  const refuse = (reason: string, hint: string): CowherdError => new CowherdError('BASE_REFUSED', `${path} ${reason}`, { hint });
  const again = 'It is damaged or truncated: freeze the source VM again.';
  const word = bytes.toString('latin1', 0, magic.length);
  if (word === partialMagic) throw refuse('is incomplete', 'libvirt was interrupted while saving it: freeze the source VM again.');
  if (word !== magic) throw refuse('is not a libvirt save file', again);
  if (bytes.length < saveHeaderBytes) throw refuse('is too short for a libvirt save file', again);
  const version = bytes.readUInt32LE(at.version);
  if (version !== knownVersion) {
    throw refuse(
      `has version ${version}, and cowherd supports only version ${knownVersion}`,
      'Is libvirt newer than this cowherd? Please report it.',
    );
  }
  const format = bytes.readUInt32LE(at.format);
  if (format !== 0) {
    const name = formats[format] ?? `format ${format}`;
    throw refuse(`is compressed (${name})`, 'Set save_image_format = "raw" in qemu.conf: clones need uncompressed memory.');
  }
  if (bytes.subarray(at.reserved, saveHeaderBytes).some((byte) => byte !== 0))
    throw refuse('has unknown fields in its header', 'Is libvirt newer than this cowherd? Please report it.');
  const dataBytes = bytes.readUInt32LE(at.dataBytes);
  const cookieOffset = bytes.readUInt32LE(at.cookieOffset);
  if (dataBytes < 2 || dataBytes > mostDataBytes || cookieOffset >= dataBytes) throw refuse('has an inconsistent header', again);
  const streamOffset = saveHeaderBytes + dataBytes;
  if (fileBytes <= streamOffset) throw refuse('ends before the memory begins', again);
  return { dataBytes, cookieOffset, wasRunning: bytes.readUInt32LE(at.wasRunning) !== 0, streamOffset };
}

/** @param bytes the file up to its stream @throws BASE_REFUSED */
export function parseSaveHead(path: string, bytes: Buffer, fileBytes: number): SaveHead {
  const header = parseSaveHeader(path, bytes, fileBytes);
  const data = bytes.subarray(saveHeaderBytes, header.streamOffset);
  const xmlEnd = data.indexOf(0);
  const limit = header.cookieOffset === 0 ? header.dataBytes : header.cookieOffset;
  // A string of C: it ends in a zero, and the cookie comes right behind.
  const isWhole = data.length === header.dataBytes && xmlEnd > 0 && xmlEnd < limit;
  if (!isWhole || (header.cookieOffset !== 0 && xmlEnd !== header.cookieOffset - 1)) {
    throw new CowherdError('BASE_REFUSED', `${path} has no domain in its header`, { hint: 'It is damaged: freeze the source VM again.' });
  }
  const rest = header.cookieOffset === 0 ? Buffer.alloc(0) : data.subarray(header.cookieOffset);
  const cookieEnd = rest.indexOf(0);
  return { ...header, xml: data.toString('utf8', 0, xmlEnd), cookie: Buffer.from(cookieEnd < 0 ? rest : rest.subarray(0, cookieEnd)) };
}

/**
 * The head of the same memory as another domain, of the same length: what follows it stays where it is.
 * @throws NOT_SUPPORTED where the XML is too long for it
 */
export function composeSaveHead(head: SaveHead, xml: string): Buffer {
  if (xml.includes('\0')) throw new Error('a zero character in the XML of a domain');
  const text = Buffer.from(`${xml}\0`);
  const cookie = head.cookie.length === 0 ? Buffer.alloc(0) : Buffer.concat([head.cookie, Buffer.alloc(1)]);
  const missing = text.length + cookie.length - head.dataBytes;
  if (missing > 0) {
    throw new CowherdError('NOT_SUPPORTED', `The XML of a clone is ${missing} bytes longer than the saved memory has room for`, {
      hint: 'libvirt leaves 64 KiB. Remove long parts from the source domain, such as its metadata, and freeze it again.',
    });
  }
  const bytes = Buffer.alloc(head.streamOffset);
  bytes.write(magic, 0, 'latin1');
  bytes.writeUInt32LE(knownVersion, at.version);
  bytes.writeUInt32LE(head.dataBytes, at.dataBytes);
  bytes.writeUInt32LE(head.wasRunning ? 1 : 0, at.wasRunning);
  bytes.writeUInt32LE(cookie.length === 0 ? 0 : text.length, at.cookieOffset);
  text.copy(bytes, saveHeaderBytes);
  cookie.copy(bytes, saveHeaderBytes + text.length);
  return bytes;
}
