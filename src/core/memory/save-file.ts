import { CowherdError } from '../errors.js';

/**
 * The header of a libvirt save file: the domain, before the stream of its memory. Numbers are in the byte
 * order of the host. Source: libvirt src/qemu/qemu_saveimage.h, version 2.
 */

/** Size of the fixed part in bytes. */
export const saveHeaderBytes = 92;

const magic = 'LibvirtQemudSave';
/** The magic while libvirt is still writing the file. */
const partialMagic = 'LibvirtQemudPart';
const knownVersion = 2;
/** Far more than any domain's XML with libvirt's padding for edits. */
const mostDataBytes = 16 * 1024 * 1024;
const formats = ['raw', 'gzip', 'bzip2', 'xz', 'lzop', 'zstd'];

const at = { version: 16, dataBytes: 20, wasRunning: 24, format: 28, cookieOffset: 32, reserved: 36 };

export interface SaveHeader {
  /** Size of the XML, libvirt's cookie and the padding. */
  dataBytes: number;
  /** Offset of the cookie in these; 0 if there is none. */
  cookieOffset: number;
  wasRunning: boolean;
  /** Offset of the memory stream in the file. */
  streamOffset: number;
}

export interface SaveHead extends SaveHeader {
  xml: string;
  /** libvirt's own data for the domain; opaque. */
  cookie: Buffer;
}

/**
 * @param bytes the beginning of the file
 * @param fileBytes its length
 * @throws BASE_REFUSED if it is not a complete save file of a supported version
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
  // A NUL-terminated string, directly followed by the cookie.
  const isWhole = data.length === header.dataBytes && xmlEnd > 0 && xmlEnd < limit;
  if (!isWhole || (header.cookieOffset !== 0 && xmlEnd !== header.cookieOffset - 1)) {
    throw new CowherdError('BASE_REFUSED', `${path} has no domain in its header`, { hint: 'It is damaged: freeze the source VM again.' });
  }
  const rest = header.cookieOffset === 0 ? Buffer.alloc(0) : data.subarray(header.cookieOffset);
  const cookieEnd = rest.indexOf(0);
  return { ...header, xml: data.toString('utf8', 0, xmlEnd), cookie: Buffer.from(cookieEnd < 0 ? rest : rest.subarray(0, cookieEnd)) };
}

/**
 * The header for the same memory with another domain. It has the same length, so that the stream does not move.
 * @throws NOT_SUPPORTED if the XML is too long
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
