import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** One image in many formats, made with the tools that users have. */

export interface Packed {
  /** File name, which says what it is. */
  name: string;
  /** The steps that undo it, outermost first, as `base inspect` shows them. */
  unpacked: string[];
}

const all: readonly Packed[] = [
  { name: 'plain.qcow2', unpacked: [] },
  { name: 'plain.raw', unpacked: [] },
  { name: 'plain.qcow2.xz', unpacked: ['xz'] },
  { name: 'plain.qcow2.gz', unpacked: ['gzip'] },
  { name: 'plain.qcow2.zst', unpacked: ['zstd'] },
  { name: 'plain.qcow2.bz2', unpacked: ['bzip2'] },
  { name: 'plain.raw.xz', unpacked: ['xz'] },
  { name: 'plain.tar', unpacked: ['tar'] },
  { name: 'plain.tar.gz', unpacked: ['gzip', 'tar'] },
  { name: 'plain.tar.xz', unpacked: ['xz', 'tar'] },
  { name: 'plain.tar.zst', unpacked: ['zstd', 'tar'] },
  { name: 'plain.tar.bz2', unpacked: ['bzip2', 'tar'] },
  { name: 'box.ova', unpacked: ['tar', 'vmdk'] },
  { name: 'vagrant.box', unpacked: ['gzip', 'tar'] },
  { name: 'sparse.vmdk', unpacked: ['vmdk'] },
  { name: 'stream.vmdk', unpacked: ['vmdk'] },
  { name: 'dynamic.vhd', unpacked: ['vhd'] },
  { name: 'fixed.vhd', unpacked: ['vhd'] },
  { name: 'disk.vhdx', unpacked: ['vhdx'] },
  { name: 'disk.vdi', unpacked: ['vdi'] },
];

/** @param image a qcow2 image @param directory for the files. @returns what was made, in that directory */
export async function packImage(image: string, directory: string): Promise<readonly Packed[]> {
  await mkdir(directory, { recursive: true });
  const at = (name: string): string => join(directory, name);
  const convert = (to: string, name: string, ...options: string[]) =>
    execa('qemu-img', ['convert', '-f', 'qcow2', '-O', to, ...options, image, at(name)]);
  const sh = (script: string) => execa('sh', ['-ec', script], { cwd: directory });
  await execa('cp', [image, at('plain.qcow2')]);
  await convert('raw', 'plain.raw');
  await convert('vmdk', 'sparse.vmdk', '-o', 'subformat=monolithicSparse');
  await convert('vmdk', 'stream.vmdk', '-o', 'subformat=streamOptimized');
  await convert('vpc', 'dynamic.vhd', '-o', 'subformat=dynamic,force_size=on');
  await convert('vpc', 'fixed.vhd', '-o', 'subformat=fixed,force_size=on');
  await convert('vhdx', 'disk.vhdx');
  await convert('vdi', 'disk.vdi');
  await sh(`
    xz -1 -kc plain.qcow2 > plain.qcow2.xz; xz -1 -kc plain.raw > plain.raw.xz
    gzip -1 -kc plain.qcow2 > plain.qcow2.gz; bzip2 -1 -kc plain.qcow2 > plain.qcow2.bz2; zstd -q -1 -kc plain.qcow2 > plain.qcow2.zst
    tar -cf plain.tar plain.qcow2
    xz -1 -kc plain.tar > plain.tar.xz; gzip -1 -kc plain.tar > plain.tar.gz; bzip2 -1 -kc plain.tar > plain.tar.bz2; zstd -q -1 -kc plain.tar > plain.tar.zst
  `);
  await writeFile(at('box.ovf'), '<?xml version="1.0"?>\n<Envelope><References><File href="stream.vmdk"/></References></Envelope>\n');
  await writeFile(at('box.mf'), 'SHA256(box.ovf)= 00\n');
  await writeFile(at('metadata.json'), '{"provider":"libvirt","format":"qcow2","virtual_size":1}\n');
  await writeFile(at('Vagrantfile'), 'Vagrant.configure("2") do |config|\nend\n');
  await sh('tar -cf box.ova box.ovf box.mf stream.vmdk; cp plain.qcow2 box.img; tar -czf vagrant.box metadata.json Vagrantfile box.img');
  for (const part of ['box.ovf', 'box.mf', 'metadata.json', 'Vagrantfile', 'box.img']) await rm(at(part));
  return all;
}

/** Whether a base image has the same content for a guest. @param base as `base list` shows it */
export async function isSameDisk(image: string, base: { path: string; format: string }): Promise<boolean> {
  const compared = await execa('qemu-img', ['compare', '-f', 'qcow2', '-F', base.format, image, base.path], { reject: false });
  return compared.exitCode === 0;
}
