import { bootSectorBytes } from './boot-sector.js';

/**
 * The guest that tests whether an accelerator works: a boot sector that does what real guests do. It takes a timer interrupt, builds
 * page tables, enters 64-bit long mode, uses 64-bit registers, reads an MSR and CPUID, prints a line and powers off. On a
 * CPU without long mode it reports that and powers off, too.
 *
 * It prints the line and powers off in long mode only, so either shows that everything worked. It needs no
 * devices beyond those of members: the first serial port, and ACPI power management at 0x600, as set by SeaBIOS (pc, q35).
 */

// Code at 0x7c00. Addresses such as 0x7d18 refer to the tables at its end.
const program = [
  '31c0 8ed8 8ec0 8ed0 bc007c fc', //  segments 0, stack below the code, forward copies
  'fb f4 fa', //                       sti; hlt; cli: wait for one tick of the timer
  '66b801000080 0fa2', //              cpuid 80000001h:
  '660fbae21d 7350', //                is there long mode? If not, go to "real"
  'bf0010 b90018 31c0 f3ab', //        clear three page tables at 0x1000
  'c70600100320', //                   PML4[0] → 0x2000
  'c70600200330', //                   PDPT[0] → 0x3000
  'c70600308300', //                   PD[0]: 2 MiB from 0
  '66b800100000 0f22d8', //            cr3 = 0x1000
  '0f20e0 0c20 0f22e0', //             cr4.PAE
  '66b9800000c0 0f32 80cc01 0f30', //  EFER.LME, by rdmsr and wrmsr
  '0f0116187d', //                     lgdt
  '0f20c0 660d01000080 0f22c0', //     cr0.PG and PE: long mode is on
  'ea927c0800', //                     far jump into the 64-bit segment, to "long"
  'be3f7d', //                         real: "COWHERD NO LONG MODE"
  'ac 84c0 7412 88c3', //              next character, until 0
  'bafd03 ec a820 74fb 88d8 baf803 ee ebe9', // wait for the UART, send
  'ba0406 b80020 ef f4 ebfd', //       PM1a control: soft off; halt
  // 64-bit code from here on.
  'b810000000 8ed8 8ec0 8ed0', //      long: data segments
  '48b8f0debc9a78563412 4989c7', //    a 64-bit constant through rax and r15:
  '49c1ef20 4181ff78563412 7546', //   its upper half must come out right, else halt
  'b9800000c0 0f32 0fbae00a 7339', //  rdmsr EFER: LMA must be set, else halt
  '31c0 0fa2', //                      cpuid 0: the vendor …
  'bf307d0000 891f 895704 894f08', //  … into the line
  'be1e7d0000', //                     "COWHERD LONG MODE <vendor>"
  'ac 84c0 7414 88c3', //              next character, until 0
  '66bafd03 ec a820 74fb 88d8 66baf803 ee ebe7', // wait for the UART, send
  '66ba0406 66b80020 66ef f4 ebfd', // PM1a control: soft off; halt
  '0000000000000000 ffff0000009aaf00 ffff00000092cf00', // GDT: none, 64-bit code, data
  '1700 007d0000', //                  its limit and address
];

const longModeLine = 'COWHERD LONG MODE ';
const realModeLine = 'COWHERD NO LONG MODE';

export function longModeSector(): Buffer {
  const code = Buffer.concat([
    Buffer.from(program.join('').replaceAll(' ', ''), 'hex'),
    // The CPU's vendor has 12 characters.
    Buffer.from(`${longModeLine}${' '.repeat(12)}\r\n\0${realModeLine}\r\n\0`, 'latin1'),
  ]);
  const sector = Buffer.alloc(bootSectorBytes);
  code.copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** Parses the guest's console output. @returns undefined if it did not finish */
export function readProbeLine(console: string): { longMode: boolean } | undefined {
  if (new RegExp(`^${longModeLine}[\\x20-\\x7e]{12}\\r?$`, 'm').test(console)) return { longMode: true };
  return new RegExp(`^${realModeLine}\\r?$`, 'm').test(console) ? { longMode: false } : undefined;
}
