/**
 * Size of the guest's disk in a file, in bytes, as Glance computes it during the upload.
 * @param format as the image says
 * @returns null: the file does not have this format
 */
export function virtualSizeOf(format: string | null, file: Buffer): number | null {
  if (format === 'raw') return file.length;
  const isQcow2 = format === 'qcow2' && file.length >= 32 && file.toString('latin1', 0, 4) === 'QFI\xfb';
  return isQcow2 ? Number(file.readBigUInt64BE(24)) : null;
}
