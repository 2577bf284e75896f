import { createHash } from 'node:crypto';
import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type BootMarker, readBootMarker } from '../../src/core/image/boot-sector.js';
import { type Lab, until, virsh } from './lab.js';

/** A manually defined domain with the boot-sector guest on its first disk. */
export class ForeignDomain {
  readonly #lab: Lab;
  readonly name: string;
  readonly disks: ReadonlyArray<{ path: string; format: string }>;

  private constructor(lab: Lab, name: string, disks: ForeignDomain['disks']) {
    this.#lab = lab;
    this.name = name;
    this.disks = disks;
  }

  /** @param options.os additional XML */
  static async define(
    lab: Lab,
    name: string,
    formats: ReadonlyArray<'qcow2' | 'raw'>,
    options: { os?: string; memoryMiB?: number; ending?: 'halt' | 'power-button' } = {},
  ): Promise<ForeignDomain> {
    const full = `${lab.fleet('foreign')}-${name}`;
    const disks = await Promise.all(
      formats.map(async (format, position) => ({
        path: await lab.golden(`${name}-${position}.${format}`, { format, ending: options.ending ?? 'power-button', virtualMiB: 16 }),
        format,
      })),
    );
    const domain = new ForeignDomain(lab, full, disks);
    await domain.redefine(`<domain type='qemu'><name>${full}</name><memory unit='MiB'>${options.memoryMiB ?? 16}</memory>
<os><type machine='pc'>hvm</type>${options.os ?? ''}</os><features><acpi/></features><devices>
${disks.map((disk, position) => diskXml(disk, `vd${'abc'[position]}`)).join('\n')}
<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>
<serial type='file'><source path='${domain.console}'/></serial>
<graphics type='vnc' autoport='yes' passwd='hidden12'/></devices></domain>`);
    // Twice: libvirt reorders controllers when it parses them again.
    await domain.redefine(await domain.xml());
    return domain;
  }

  get console(): string {
    return join(this.#lab.scratch, `${this.name}.log`);
  }

  async redefine(xml: string): Promise<void> {
    const path = join(this.#lab.scratch, `${this.name}.xml`);
    await writeFile(path, xml);
    await virsh('define', path);
  }

  xml(): Promise<string> {
    return virsh('dumpxml', '--inactive', '--security-info', this.name);
  }

  async state(): Promise<string> {
    return (await virsh('domstate', this.name)).trim();
  }

  /** Path and format of a disk in libvirt. */
  async disk(target: string): Promise<{ path: string; format: string }> {
    const part = (await this.xml()).split(/(?=<disk )/).find((text) => text.includes(`<target dev='${target}'`)) ?? '';
    return { path: /<source file='([^']+)'/.exec(part)?.[1] ?? '', format: /<driver [^>]*type='(\w+)'/.exec(part)?.[1] ?? '' };
  }

  async start(): Promise<void> {
    await rm(this.console, { force: true });
    await virsh('start', this.name);
    await this.booted();
  }

  async booted(): Promise<void> {
    await until(`${this.name} to boot`, async () => /OK [0-9a-f]{16}/.test(await readFile(this.console, 'utf8').catch(() => '')));
  }

  async stop(): Promise<void> {
    await execa('virsh', ['-q', '-c', 'qemu:///system', 'destroy', this.name], { reject: false });
  }

  /** Boots the domain from its current disk, then forces it off. @returns how often that disk was booted */
  async boot(): Promise<number> {
    await this.start();
    await this.stop();
    return this.boots();
  }

  /** Data that the guest has written to its first disk. The domain must be stopped. */
  async boots(): Promise<number> {
    return (await marker(this.#lab, await this.disk('vda')))?.boots ?? 0;
  }

  /** Fills part of a disk with one byte, like a guest. The domain must be stopped. */
  async scribble(target: string, byte: number, size = '64k'): Promise<void> {
    const { path, format } = await this.disk(target);
    await execa('qemu-io', ['-f', format, '-c', `write -P ${byte} 1M ${size}`, path]);
  }

  /** Whether that part of a disk contains only that byte. */
  async holds(target: string, byte: number): Promise<boolean> {
    const { path, format } = await this.disk(target);
    const { stdout } = await execa('qemu-io', ['-f', format, '-c', `read -P ${byte} 1M 64k`, path], { reject: false });
    return !/Pattern verification failed/.test(stdout);
  }
}

export function diskXml({ path, format }: { path: string; format: string }, target: string): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${path}'/><target dev='${target}' bus='virtio'/></disk>`;
}

export async function marker(lab: Lab, { path, format }: { path: string; format: string }): Promise<BootMarker | undefined> {
  const raw = join(lab.scratch, 'marker.raw');
  await execa('qemu-img', ['dd', '-f', format, '-O', 'raw', 'bs=512', 'skip=1', 'count=2', `if=${path}`, `of=${raw}`]);
  const handle = await open(raw, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    return readBootMarker(buffer);
  } finally {
    await handle.close();
    await rm(raw);
  }
}

export async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** Whether two images have the same content for a guest. */
export async function areSame(a: { path: string; format: string }, b: { path: string; format: string }): Promise<boolean> {
  const { exitCode } = await execa('qemu-img', ['compare', '-f', a.format, '-F', b.format, a.path, b.path], { reject: false });
  return exitCode === 0;
}
