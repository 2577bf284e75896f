import type { FleetRecord } from '../../core/fleet/record.js';
import { type CloneDemand, cloneDemand } from '../../core/memory/demand.js';
import type { Ports } from '../../ports/index.js';

/** At most this many running clones are measured. */
const measured = 8;

/** What new clones of a fleet are expected to need; undefined if each gets memory of its own. */
export async function demandOfClones(
  ports: Pick<Ports, 'bases' | 'hypervisor' | 'machine'>,
  record: FleetRecord,
  count: number,
): Promise<CloneDemand | undefined> {
  if (record.spec.warm === undefined || count === 0) return undefined;
  const { warm } = (await ports.bases.get(record.base)) ?? {};
  if (warm?.ram === undefined) return undefined;
  // With other versions, clones boot.
  const { libvirt, hypervisor } = await ports.hypervisor.versions();
  if (warm.libvirt !== libvirt || warm.hypervisor !== hypervisor) return undefined;
  const processes = await ports.machine.qemuProcesses();
  const clones = record.members.flatMap(({ uuid }) => processes.get(uuid) ?? []).filter(({ isSharing }) => isSharing);
  const read = await ports.machine.processMemory(clones.slice(0, measured));
  const own = [...read.values()].flatMap(({ privateBytes }) => privateBytes ?? []);
  return cloneDemand(count, record.spec.memoryMiB * 2 ** 20, warm.ram.allocatedBytes, own);
}
