import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { longModeSector, readProbeLine } from '../../../src/core/image/long-mode-sector.js';

/** With the real QEMU, emulated. */
describe('the guest that probes the accelerator', () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cwt-long-'));
  });
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  /** @returns its output, and whether it powered off */
  async function boot(sector: Buffer, ...options: string[]): Promise<{ text: string; isOff: boolean }> {
    const disk = join(scratch, 'disk.raw');
    const log = join(scratch, 'console.log');
    await writeFile(disk, Buffer.concat([sector], 1024 * 1024));
    const drive = `file=${disk},format=raw,if=virtio,snapshot=on`;
    const machine = ['-accel', 'tcg', '-m', '16', '-nodefaults', '-display', 'none', '-serial', `file:${log}`, '-drive', drive];
    // Kills a guest that hangs.
    const { exitCode } = await execa('qemu-system-x86_64', [...machine, ...options], { reject: false, timeout: 20_000 });
    return { text: await readFile(log, 'utf8'), isOff: exitCode === 0 };
  }

  it.each([
    ['pc', 'qemu64'],
    ['q35', 'qemu64'],
    ['pc', 'max'],
    ['pc', 'kvm64'],
  ])('reaches long mode and powers off (%s, %s)', async (machine, cpu) => {
    const { text, isOff } = await boot(longModeSector(), '-machine', machine, '-cpu', cpu);
    expect(text).toMatch(/^COWHERD LONG MODE (AuthenticAMD|GenuineIntel)\r?$/m);
    expect(readProbeLine(text)).toEqual({ longMode: true });
    expect(isOff).toBe(true);
  });

  it('reports a CPU without long mode', async () => {
    const { text, isOff } = await boot(longModeSector(), '-cpu', 'qemu32');
    expect([readProbeLine(text), isOff]).toEqual([{ longMode: false }, true]);
  });

  it('prints nothing if long mode cannot be entered', async () => {
    // Without its first page table the far jump faults, as on a broken host; the guest resets forever.
    const broken = longModeSector();
    broken.fill(0, broken.indexOf(Buffer.from('c70600100320', 'hex')), broken.indexOf(Buffer.from('c70600200330', 'hex')));
    const { text, isOff } = await boot(broken, '-no-reboot');
    expect(readProbeLine(text)).toBeUndefined();
    // -no-reboot: a triple fault ends QEMU without output.
    expect(isOff).toBe(true);
  });

  it('is a boot sector with its text where the code expects it', () => {
    const sector = longModeSector();
    expect(sector).toHaveLength(512);
    expect(sector.readUInt16LE(510)).toBe(0xaa55);
    expect(sector.subarray(0x11e).toString('latin1')).toMatch(/^COWHERD LONG MODE {13}\r\n\0COWHERD NO LONG MODE\r\n\0/);
    expect(sector.indexOf('COWHERD NO')).toBe(0x13f);
    expect(readProbeLine('COWHERD LONG MODE')).toBeUndefined();
    expect(readProbeLine('junk\r\nCOWHERD LONG MODE AuthenticAMD\r\n')).toEqual({ longMode: true });
  });
});
