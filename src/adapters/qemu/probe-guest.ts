import { randomUUID } from 'node:crypto';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { memberMetadata } from '../../core/domain/domain-xml.js';
import { compileDomainTemplate, type Platform } from '../../core/domain/template.js';
import { formatDuration } from '../../core/duration.js';
import { CowherdError, reportOf } from '../../core/errors.js';
import { memberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { type AcceleratorFault, acceleratorFaultOf, faultText } from '../../core/host/accelerator-faults.js';
import type { BaseImage } from '../../core/image/base.js';
import { longModeSector, readProbeLine } from '../../core/image/long-mode-sector.js';
import { formerOverlayFormat } from '../../core/image/overlay-format.js';
import { defaultDomainSpec } from '../../core/spec/spec.js';
import type { Hypervisor } from '../../ports/hypervisor.js';
import type { ImageTool } from '../../ports/images.js';
import type { Clock } from '../../ports/machine.js';
import type { AgentSockets } from '../libvirt/agent-sockets.js';
import { makeDirectory } from '../store/files/directories.js';
import { listDirectory } from '../store/files/files.js';
import { SafeUnlinker } from '../store/files/safe-unlinker.js';
import { longestProbeMs } from './probe-limits.js';

/** virtlogd writes console output a moment after the guest has ended. */
const logDelayMs = 1_000;

/** An older probe was left by a killed run. */
const staleMs = 20 * longestProbeMs;

const kinds = /\.(raw|qcow2|log)$/;

export type ProbeResult = { ms: number } | { failure: string; fault: AcceleratorFault | undefined };

export interface ProbePorts {
  hypervisor: Hypervisor;
  images: Pick<ImageTool, 'freshOverlay'>;
  agentSockets: AgentSockets;
  clock: Clock;
}

/**
 * Guests that are defined like members, by the built-in template, and differ only in their disk. They boot, enter long
 * mode, report that on their console, and power off. One instance belongs to one probe; {@link close} removes its files.
 */
export class ProbeGuests {
  readonly #ports: ProbePorts;
  readonly #directory: string;
  readonly #fleet = `cowherd-probe-${randomUUID().slice(0, 8)}`;
  readonly #render: (platform: Platform) => ReturnType<typeof compileDomainTemplate>;
  readonly #record: FleetRecord;
  readonly #overlay: Buffer;
  #runs = 0;

  private constructor(ports: ProbePorts, directory: string, base: BaseImage, overlay: Buffer, template: string, lean: boolean) {
    this.#ports = ports;
    this.#directory = directory;
    this.#overlay = overlay;
    this.#render = (platform) => compileDomainTemplate(template, 'built-in', () => base, platform);
    this.#record = {
      version: 1,
      id: randomUUID(),
      name: this.#fleet,
      base: { name: base.name, digest: base.digest },
      spec: { ...defaultDomainSpec, memoryMiB: 16, network: 'none', lean },
      createdAt: ports.clock.now().toISOString(),
      freshOverlayBytes: 0,
      members: [],
    };
  }

  /** @param options.template the built-in one */
  static async open(ports: ProbePorts, directory: string, options: { template: string; lean: boolean }): Promise<ProbeGuests> {
    await makeDirectory(directory);
    await sweep(ports, directory);
    const path = join(directory, `cowherd-probe-${randomUUID().slice(0, 8)}.raw`);
    const unlinker = new SafeUnlinker(directory);
    try {
      // Read-only for QEMU's user, like a base image.
      await writeFile(path, Buffer.concat([longModeSector()], 1024 * 1024), { mode: 0o644, flag: 'wx' });
      await chmod(path, 0o644);
      const base = { name: 'probe', digest: '0'.repeat(64), path, format: 'raw', backing: [] as BaseImage['backing'] } as BaseImage;
      // The format that every QEMU knows: the result is for all fleets.
      const scratch = join(directory, `cowherd-probe-${randomUUID().slice(0, 8)}.qcow2`);
      const overlay = await ports.images.freshOverlay(base, scratch, formerOverlayFormat);
      const guests = new ProbeGuests(ports, directory, base, overlay, options.template, options.lean);
      guests.#made.push(path);
      return guests;
    } catch (error) {
      await unlinker.unlink(path).catch(() => undefined);
      throw error;
    }
  }

  readonly #made: string[] = [];

  /** Runs a guest. @param limitMs counted from when it is running */
  async run(platform: Platform, limitMs: number, signal?: AbortSignal): Promise<ProbeResult> {
    const { hypervisor, clock, agentSockets } = this.#ports;
    const member = memberIdentity(this.#fleet, this.#record.id, ++this.#runs);
    const { name } = member;
    const overlay = join(this.#directory, `${name}.qcow2`);
    const consoleLog = join(this.#directory, `${name}.log`);
    this.#made.push(overlay, consoleLog);
    try {
      await agentSockets.prepare();
      await writeFile(overlay, this.#overlay, { mode: 0o600, flag: 'wx' });
      await writeFile(consoleLog, '', { mode: 0o600, flag: 'wx' });
      const files = { overlay, consoleLog, disk: () => overlay, nvram: '', seed: '', agentSocket: agentSockets.path(name) };
      const rendered = this.#render(platform)(this.#record, member, files);
      // It is not a member and must not look like one.
      await hypervisor.createTransient({ name, xml: rendered.replace(memberMetadata(this.#record, member), '') });
      const began = clock.monotonic();
      const isOver = await this.#ends(name, began + limitMs, signal);
      const ms = clock.monotonic() - began;
      if (!isOver)
        return {
          failure: `it did not finish within ${formatDuration(limitMs)}, about as long as emulation takes`,
          fault: undefined,
        };
      return (await this.#hasSpoken(consoleLog)) ? { ms } : { failure: 'it ended before it reached long mode', fault: undefined };
    } catch (error) {
      if (error instanceof CowherdError && error.code === 'INTERRUPTED') throw error;
      return { failure: faultText(reportOf(error).message), fault: acceleratorFaultOf(error) };
    } finally {
      await hypervisor.destroy(name).catch(() => undefined);
      await agentSockets.remove(name).catch(() => undefined);
    }
  }

  async #ends(name: string, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { hypervisor, clock } = this.#ports;
    while ((await hypervisor.listDomains()).some((domain) => domain.name === name)) {
      if (signal?.aborted === true) throw new CowherdError('INTERRUPTED', 'The probe of the accelerator was interrupted');
      if (clock.monotonic() > deadline) return false;
      await clock.sleep(50, signal);
    }
    return true;
  }

  async #hasSpoken(consoleLog: string): Promise<boolean> {
    const { clock } = this.#ports;
    const deadline = clock.monotonic() + logDelayMs;
    for (;;) {
      if (readProbeLine(await readFile(consoleLog, 'utf8')) !== undefined) return true;
      if (clock.monotonic() > deadline) return false;
      await clock.sleep(20);
    }
  }

  async close(): Promise<void> {
    const unlinker = new SafeUnlinker(this.#directory);
    for (const path of this.#made) await unlinker.unlink(path).catch(() => undefined);
  }
}

/** Kills probe guests of killed runs, which could use a CPU core forever. */
async function sweep({ hypervisor }: ProbePorts, directory: string): Promise<void> {
  for (const file of await listDirectory(directory)) {
    const stats = await stat(join(directory, file)).catch(() => undefined);
    if (!kinds.test(file) || stats === undefined || Date.now() - stats.mtimeMs < staleMs) continue;
    // The next probe tries again.
    const isEnded = await hypervisor.destroy(file.replace(kinds, '')).then(
      () => true,
      () => false,
    );
    if (isEnded) await new SafeUnlinker(directory).unlink(join(directory, file));
  }
}
