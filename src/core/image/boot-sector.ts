/**
 * A minimal guest to test disks: a boot sector of 512 bytes that writes one sector of its own disk and reports that on
 * the first serial port. Used as the quickstart's golden image and the guest of mass tests. The guest that
 * probes the accelerator is in long-mode-sector.ts.
 *
 * The sector (LBA 1) holds: `COWHERD1`, a 32-bit little-endian count of boots, the 64-bit time-stamp counter of this boot (the
 * nonce). The console shows `OK ` and the nonce in hex, so a console log and an overlay can be matched with each other.
 */

/** How the guest ends: halts, exits through isa-debug-exit (port 0xf4), or waits for the ACPI power button. */
export type BootSectorEnding = 'halt' | 'exit' | 'power-button';

export const bootSectorBytes = 512;
const markerMagic = 'COWHERD1';

// 16-bit code at 0x7c00. Addresses such as 0x7ca0 refer to the tables at its end.
const program = [
  '31c0 8ed8 8ec0 8ed0 bc007c fc', // segments 0, stack below the code, forward copies
  '88d3', //                          keep the boot drive in BL
  'bea07c b442 cd13 723b', //         int 13h/42h: read LBA 1 to 0x8000; on error go to "bad"
  'beb07c bf0080 b90800 f3a4', //     copy the magic to its head
  '66ff060880', //                    count this boot
  '0f31 66a30c80 6689161080', //      rdtsc → nonce
  'bea07c b80043 88da cd13 7214', //  int 13h/43h: write it back
  'beb87c e84e00', //                 print "OK "
  'be1080 e81600 be0c80 e81000 eb06', // print the nonce, high half first
  'bebc7c e83a00', //                 bad: print "DISK ERROR"
  'bec77c e83400 eb6a', //            print CR LF, go to the ending
  '83c603 b90400 8a04 4e 88c4 c0e804 e80a00 88e0 240f e80300 e2ec c3', // hex4: four bytes, most significant first
  '0430 3c39 7602 0427', //           nibble → hex digit, falls into putc
  '50 bafd03 ec a820 74fb 58 baf803 ee c3', // putc: wait for the UART, send
  'ac 84c0 7405 e8e9ff ebf6 c3', //   puts
  '8d7400', //                        padding
  '1000 0100 0080 0000 0100000000000000', // disk address packet: 1 sector, 0:8000, LBA 1
  '434f574845524431', //              "COWHERD1"
  '4f4b2000', //                      "OK "
  '4449534b204552524f5200', //        "DISK ERROR"
  '0d0a00',
];

const endings: Record<BootSectorEnding, string[]> = {
  halt: ['fa f4 ebfc'],
  exit: ['baf400 30c0 ee', 'fa f4 ebfc'],
  'power-button': [
    'ba0206 b80001 ef', //            PM1a enable: power button (PIIX4 of machine "pc")
    'fb f4 ba0006 ed f6c401 74f5', // sleep until the next tick, look at PM1a status
    'ba0406 b80020 ef', //            PM1a control: soft off
    'fa f4 ebfc',
  ],
};

export function bootSector(ending: BootSectorEnding = 'halt'): Buffer {
  const code = Buffer.from([...program, ...endings[ending]].join('').replaceAll(' ', ''), 'hex');
  const sector = Buffer.alloc(bootSectorBytes);
  code.copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

export interface BootMarker {
  boots: number;
  /** 16 hex digits, as on the console. */
  nonce: string;
}

/** Reads the guest's sector. @returns undefined if the guest never wrote it */
export function readBootMarker(sector: Buffer): BootMarker | undefined {
  if (sector.subarray(0, 8).toString('latin1') !== markerMagic) return undefined;
  return { boots: sector.readUInt32LE(8), nonce: sector.readBigUInt64LE(12).toString(16).padStart(16, '0') };
}
