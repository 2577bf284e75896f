import { rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';

/** 16-bit code for the boot sector: writes the whole disk, 32 KiB at a time, says `D` on the serial port, halts. */
const program = [
  '31c0 8ed8 8ec0 8ed0 bc007c fc 88d3', // segments 0, stack below the code; the boot drive in BL
  'be607c b80043 88da cd13 7208', //       int 13h/43h: write; at the end of the disk leave
  '668306687c40 ebec', //                  64 sectors further
  'baf803 b044 ee fa f4 ebfc', //          "D", halt
];
/** 64 sectors from 0:8000 to LBA 64 on. */
const packet = '1000 4000 0080 0000 4000000000000000';
const packetOffset = 0x60;

/** Builds a golden image whose guest fills its disk. */
export async function buildWriter(path: string, virtualMiB: number): Promise<void> {
  const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const disk = Buffer.alloc(virtualMiB * 1024 ** 2);
  bytes(program.join('')).copy(disk);
  bytes(packet).copy(disk, packetOffset);
  disk.writeUInt16LE(0xaa55, 510);
  const raw = `${path}.raw`;
  await writeFile(raw, disk);
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
}
