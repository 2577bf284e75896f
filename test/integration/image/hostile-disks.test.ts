import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Hostile, HostileStore, MiB } from '../../support/hostile-store.js';

/** Disks that refer to files of the host, or are made to do other harm: each is refused with a reason, and nothing of it stays. */

let lab: HostileStore;
const at = (...parts: string[]): string => lab.at(...parts);
const run = (command: string) => lab.run(command);

beforeAll(async () => {
  lab = await HostileStore.create();
});
afterAll(() => lab.remove());

const changedVmdk = async (change: (bytes: Buffer) => void, format = 'vmdk', options = 'compat6=off'): Promise<void> => {
  await run(`qemu-img convert -O ${format} -o ${options} golden.qcow2 image`);
  const bytes = await readFile(at('image'));
  change(bytes);
  await writeFile(at('image'), bytes);
};
const replaceText = (from: string, to: string) => (bytes: Buffer) => {
  expect(bytes.includes(from)).toBe(true);
  bytes.write(to, bytes.indexOf(from), 'latin1');
};

const backed = 'qemu-img create -q -u -f qcow2 -F raw -b /etc/passwd';

const images: Hostile[] = [
  {
    what: 'a qcow2 image on /etc/passwd in an archive',
    make: () => run(`${backed} b.qcow2 1M; tar -czf image b.qcow2`),
    says: /^b.qcow2 in .* has a backing file/,
  },
  {
    what: 'a qcow2 image on /etc/passwd in an archive, trusted by mistake',
    make: () => run(`${backed} b.qcow2 1M; xz -c b.qcow2 > image`),
    says: /has a backing file/,
    request: { trustChain: true },
  },
  {
    what: 'a qcow2 image with a data file in an archive',
    make: () => run('qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on d.qcow2 1M; gzip -c d.qcow2 > image; rm d.raw'),
    says: /external file/,
  },
  {
    what: 'a VMDK descriptor on /etc/shadow',
    make: () =>
      writeFile(
        at('image'),
        '# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/shadow" 0\n'.padEnd(600),
      ),
    says: /is a VMDK descriptor/,
  },
  { what: 'a VMDK with a capacity of 0', make: () => changedVmdk((bytes) => void bytes.fill(0, 12, 20)), says: /without data of its own/ },
  { what: 'a VMDK with a parent', make: () => changedVmdk(replaceText('parentCID=ffffffff', 'parentCID=12345678')), says: /has a parent/ },
  {
    what: 'a VMDK that names its parent',
    make: () => changedVmdk(replaceText('# The Disk Data Base', 'parentFileNameHint="/etc/passwd"')),
    says: /has a parent/,
  },
  { what: 'a VMDK with a flat extent', make: () => changedVmdk(replaceText('SPARSE', 'FLAT  ')), says: /extent of the type FLAT/ },
  {
    what: 'a part of a VMDK',
    make: () => run('qemu-img convert -O vmdk -o subformat=twoGbMaxExtentSparse golden.qcow2 split.vmdk; mv split-s001.vmdk image'),
    says: /is one extent of a VMDK/,
  },
  {
    what: 'a VMDK in which all clusters are the same',
    make: () =>
      run('qemu-img convert -O vmdk -o subformat=streamOptimized golden.qcow2 small; qemu-img create -q -f qcow2 big.qcow2 512M').then(
        grainBomb,
      ),
    says: /contains more than 64 MiB, the limit/,
    request: { maxBytes: 64 * MiB },
  },
  {
    what: 'a truncated VMDK',
    make: () => changedVmdk(() => undefined, 'vmdk', 'subformat=streamOptimized').then(() => run('truncate -s -512 image')),
    says: /cannot be read as vmdk: qemu-img: /,
  },
  {
    what: 'a differencing VHD',
    make: () => changedVmdk(asDifferencing, 'vpc', 'force_size=on'),
    says: /has a parent/,
  },
  {
    what: 'a VHD with a wrong checksum',
    make: () => changedVmdk((bytes) => void bytes.fill(7, 200, 201), 'vpc', 'force_size=on'),
    says: /no readable vhd header/,
  },
  { what: 'a VHDX with a parent', make: () => changedVmdk(withParent, 'vhdx', 'subformat=dynamic'), says: /has a parent/ },
  {
    what: 'a VHDX without tables',
    make: () => writeFile(at('image'), Buffer.from('vhdxfile'.padEnd(1024))),
    says: /no readable vhdx header/,
  },
  {
    what: 'a VDI with a parent',
    make: () => changedVmdk((bytes) => void bytes.writeUInt32LE(4, 0x4c), 'vdi', 'static=off'),
    says: /has a parent/,
  },
  {
    what: 'a VDI of 2^63 bytes',
    make: () => changedVmdk((bytes) => void bytes.fill(0x7f, 0x170, 0x178), 'vdi', 'static=off'),
    says: /larger than 2 PiB/,
  },
  {
    what: 'a VDI with a broken map',
    make: () => changedVmdk((bytes) => void bytes.writeUInt32LE(7, 0x154), 'vdi', 'static=off'),
    says: /cannot be read as vdi/,
  },
];

function asDifferencing(bytes: Buffer): void {
  bytes.writeUInt32BE(4, 60);
  bytes.writeUInt32BE(0, 64);
  bytes.writeUInt32BE(~bytes.subarray(0, 512).reduce((sum, byte) => sum + byte, 0) >>> 0, 64);
}

function withParent(bytes: Buffer): void {
  const region = bytes.indexOf('metadata');
  const entry = bytes.indexOf(Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex'), region);
  const place = region + bytes.readUInt32LE(entry + 16) + 4;
  bytes.writeUInt32LE(bytes.readUInt32LE(place) | 2, place);
}

/** A disk of 512 MiB, each cluster of which is the same compressed one. */
async function grainBomb(): Promise<void> {
  await run(
    'qemu-img convert -O vmdk -o subformat=streamOptimized big.qcow2 image; qemu-io -f qcow2 -c "write -P 7 0 64k" big.qcow2; qemu-img convert -O vmdk -o subformat=streamOptimized big.qcow2 image',
  );
  const bytes = await readFile(at('image'));
  const directory = Number(bytes.readBigUInt64LE(56)) * 512;
  const perTable = bytes.readUInt32LE(44);
  const table = bytes.readUInt32LE(directory);
  const grain = bytes.readUInt32LE(table * 512);
  expect([table > 0, grain > 0]).toEqual([true, true]);
  for (let index = 0; index < perTable; index++) bytes.writeUInt32LE(grain, table * 512 + index * 4);
  for (let index = 0; index < (512 * MiB) / 65_536 / perTable; index++) bytes.writeUInt32LE(table, directory + index * 4);
  await writeFile(at('image'), bytes);
}

describe('a hostile disk', () => {
  it.each(images)('is refused: $what', (hostile) => lab.assertRefused(hostile));
});
