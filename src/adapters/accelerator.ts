import { randomUUID } from 'node:crypto';
import { open, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { bootSector, bootSectorBytes, markerOffset, readBootMarker } from '../core/boot-sector.js';
import { reportOf } from '../core/errors.js';
import { escapeXml } from '../core/quoting.js';
import type { Platform } from '../core/template.js';
import type { AcceleratorProbe, Clock, Hypervisor } from '../ports.js';
import { listDirectory, makeDirectory, Shears, writeJson } from './files.js';
import { storeLayout } from './layout.js';

/** A guest under working KVM is done in a fraction of a second; where KVM only seems to work, it takes for ever. */
const probeMs = 3_000;

const answerSchema = z.object({ key: z.string(), virtType: z.enum(['kvm', 'qemu']), why: z.string() });

/**
 * Chooses kvm or qemu by running a guest with KVM through libvirt, exactly as members run: it must write its disk and leave
 * within {@link probeMs}. That /dev/kvm exists proves nothing: nested, it may open and then hang. The answer is remembered in
 * the store until QEMU's binary, the kernel's KVM device or the connection changes.
 */
export class BootSectorProbe implements AcceleratorProbe {
  readonly #root: string;
  readonly #hypervisor: Hypervisor;
  readonly #clock: Clock;

  constructor(root: string, hypervisor: Hypervisor, clock: Clock) {
    this.#root = root;
    this.#hypervisor = hypervisor;
    this.#clock = clock;
  }

  async choose({
    fresh = false,
    onProbe,
  }: {
    fresh?: boolean;
    onProbe?: () => void;
  } = {}): Promise<{ virtType: 'kvm' | 'qemu'; why: string }> {
    let platform: Platform;
    try {
      platform = await this.#hypervisor.platform('kvm');
    } catch (error) {
      return { virtType: 'qemu', why: `libvirt offers no KVM: ${reportOf(error).message}` };
    }
    if (platform.arch !== 'x86_64') return { virtType: 'kvm', why: `libvirt offers KVM (no probe guest for ${platform.arch})` };
    const { accelerator: path } = storeLayout(this.#root);
    const key = await this.#key(platform);
    const remembered = fresh ? undefined : await this.#remembered(path, key);
    if (remembered !== undefined) return remembered;
    onProbe?.();
    const answer = await this.#run(platform);
    // A store that cannot be written to yet only means that the next run probes again.
    await writeJson(path, { key, ...answer }).catch(() => undefined);
    return answer;
  }

  async #remembered(path: string, key: string): Promise<{ virtType: 'kvm' | 'qemu'; why: string } | undefined> {
    const text = await readFile(path, 'utf8').catch(() => '{}');
    try {
      const answer = answerSchema.parse(JSON.parse(text));
      return answer.key === key ? { virtType: answer.virtType, why: answer.why } : undefined;
    } catch {
      return undefined;
    }
  }

  async #key(platform: Platform): Promise<string> {
    const mark = async (path: string): Promise<string> => {
      const stats = await stat(path).catch(() => undefined);
      return stats === undefined
        ? `${path} missing`
        : [path, stats.size, stats.mode, stats.uid, stats.gid, path.startsWith('/dev/') ? '' : stats.mtimeMs].join(' ');
    };
    return [this.#hypervisor.uri, await mark(platform.emulator), await mark('/dev/kvm')].join(' | ');
  }

  /** Ends probes that a killed run left behind: such a guest may burn a core for ever. */
  async #sweep(probes: string): Promise<void> {
    for (const file of await listDirectory(probes)) {
      const stats = await stat(join(probes, file)).catch(() => undefined);
      if (stats === undefined || Date.now() - stats.mtimeMs < 20 * probeMs) continue;
      await this.#hypervisor.destroy(file.replace(/\.raw$/, ''));
      await new Shears(probes).unlink(join(probes, file));
    }
  }

  async #run(platform: Platform): Promise<{ virtType: 'kvm' | 'qemu'; why: string }> {
    const name = `cowherd-probe-${randomUUID().slice(0, 8)}`;
    const { probes } = storeLayout(this.#root);
    await makeDirectory(probes);
    const disk = join(probes, `${name}.raw`);
    const marker = async (): Promise<boolean> => {
      const handle = await open(disk, 'r').catch(() => undefined);
      if (handle === undefined) return false;
      try {
        const { buffer } = await handle.read(Buffer.alloc(bootSectorBytes), 0, bootSectorBytes, markerOffset);
        return readBootMarker(buffer) !== undefined;
      } finally {
        await handle.close();
      }
    };
    const exists = async (): Promise<boolean> => (await this.#hypervisor.listDomains()).some((domain) => domain.name === name);
    try {
      await this.#sweep(probes);
      await writeFile(disk, Buffer.concat([bootSector('exit')], 1024 * 1024), { mode: 0o600, flag: 'wx' });
      await this.#hypervisor.createTransient({ name, xml: probeXml(name, disk, platform) });
      const deadline = this.#clock.monotonic() + probeMs;
      while (await exists()) {
        if (this.#clock.monotonic() > deadline) {
          return {
            virtType: 'qemu',
            why: `a probe guest with KVM was not done within ${probeMs / 1000} s: KVM is there but does not work`,
          };
        }
        await this.#clock.sleep(50);
      }
      // An ordinary user may not read a disk that libvirt has given to QEMU; that the guest has left by itself says enough.
      return (await marker()) || !(await canRead(disk))
        ? { virtType: 'kvm', why: 'a probe guest ran with KVM' }
        : { virtType: 'qemu', why: 'a probe guest with KVM ended without having run' };
    } catch (error) {
      return { virtType: 'qemu', why: `a probe guest with KVM did not start: ${reportOf(error).message}` };
    } finally {
      await this.#hypervisor.destroy(name).catch(() => undefined);
      await unlink(disk).catch(() => undefined);
    }
  }
}

async function canRead(path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch(() => undefined);
  await handle?.close();
  return handle !== undefined;
}

function probeXml(name: string, disk: string, { virtType, arch, machine, emulator }: Platform): string {
  return `<domain type="${virtType}" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>${name}</name><memory unit="MiB">16</memory><vcpu>1</vcpu>
  <os><type arch="${escapeXml(arch)}" machine="${escapeXml(machine)}">hvm</type><boot dev="hd"/></os>
  <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>${escapeXml(emulator)}</emulator>
    <disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${escapeXml(disk)}"/><backingStore/><target dev="vda" bus="virtio"/></disk>
    <controller type="usb" model="none"/><memballoon model="none"/><audio id="1" type="none"/>
  </devices>
  <qemu:commandline><qemu:arg value="-device"/><qemu:arg value="isa-debug-exit,iobase=0xf4"/></qemu:commandline>
</domain>`;
}
