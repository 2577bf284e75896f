import pLimit from 'p-limit';
import { CowherdError, type ErrorReport, reportOf } from '../../../core/errors.js';
import { memberDisks, originBytes } from '../../../core/fleet/disks.js';
import { type SharedMemory, sharedMemory } from '../../../core/fleet/memory.js';
import { type BaseRef, basesOf, type FleetRecord } from '../../../core/fleet/record.js';
import { type FleetReport, reportFleet, type Savings, totalSavings } from '../../../core/fleet/savings.js';
import { type BaseImage, formatBaseRef } from '../../../core/image/base.js';
import { baseKey, chainBytes, layersOf } from '../../../core/image/base-chain.js';
import type { Ports } from '../../../ports/index.js';
import type { DiskSpace } from '../../../ports/machine.js';
import { findStrays } from '../../checkpoint/strays.js';
import { loadFleet } from '../access.js';

/** Savings and drift of one fleet, from its file sizes and processes: runs no process per overlay and does not query libvirt. */
export async function report(ports: Ports, fleet: string): Promise<FleetReport> {
  const record = await loadFleet(ports, fleet);
  const images = new Map<string, BaseImage>();
  for (const ref of basesOf(record)) images.set(baseKey(ref), await presentBase(ports, ref));
  const imageOf = (ref: BaseRef): BaseImage => images.get(baseKey(ref)) ?? missing(ref);
  const base = imageOf(record.base);
  const checkpoints = await ports.checkpoints.list(fleet);
  const sizes = await ports.overlays.sizes(fleet);
  const strays = await strayBytes(ports, record);
  const { path, digest, virtualBytes } = base;
  const files = new Map([...images.values()].flatMap(layersOf).map(({ path: file, allocatedBytes }) => [file, allocatedBytes]));
  // The memory that clones resume from counts like the base image.
  for (const image of images.values()) {
    const { warm } = image;
    if (warm === undefined) continue;
    files.set(ports.memory.path(image), warm.allocatedBytes);
    if (warm.ram !== undefined) files.set(ports.memory.ramPath(image), warm.ram.allocatedBytes);
  }
  return reportFleet({
    fleet,
    base: { path, digest, allocatedBytes: chainBytes(base), virtualBytes },
    baseFiles: [...files].map(([file, allocatedBytes]) => ({ path: file, allocatedBytes })),
    freshOverlayBytes: record.freshOverlayBytes,
    seedBytes: await ports.seeds.allocatedBytes(fleet),
    sharedMemory: await sharedMemoryOf(ports, record, base),
    members: record.members.flatMap((member) => {
      if (!sizes.has(member.name)) return [];
      const disks = memberDisks(record, member).map(({ stem, origin }) => ({
        allocatedBytes: sizes.get(stem) ?? 0,
        copyBytes: 'base' in origin ? chainBytes(imageOf(origin.base)) : 0,
        virtualBytes: originBytes(origin, imageOf),
      }));
      const sum = (what: 'allocatedBytes' | 'copyBytes' | 'virtualBytes'): number => disks.reduce((total, disk) => total + disk[what], 0);
      const checkpointBytes = checkpoints.get(member.name)?.allocatedBytes ?? 0;
      return [
        {
          name: member.name,
          allocatedBytes: sum('allocatedBytes'),
          checkpointBytes,
          strayBytes: strays.get(member.name) ?? 0,
          copyBytes: sum('copyBytes'),
          virtualBytes: sum('virtualBytes'),
        },
      ];
    }),
  });
}

async function sharedMemoryOf({ machine }: Ports, { spec, members }: FleetRecord, { warm }: BaseImage): Promise<SharedMemory | null> {
  if (spec.warm === undefined || warm?.ram === undefined) return null;
  const processes = await machine.qemuProcesses();
  const clones = members.filter(({ uuid }) => processes.get(uuid)?.isSharing === true).length;
  return sharedMemory(clones, warm.ram.allocatedBytes);
}

const overlaysAtOnce = 16;

/** Bytes of stray snapshots by member, from the headers of its disks. Unreadable disks are skipped. */
async function strayBytes(ports: Ports, record: FleetRecord): Promise<Map<string, number>> {
  const limit = pLimit(overlaysAtOnce);
  const found = new Map<string, number>();
  await Promise.all(
    record.members.map((member) =>
      limit(async () => {
        const strays = await findStrays(ports, record, member).catch(() => new Map<string, number>());
        const bytes = [...strays.values()].reduce((sum, of) => sum + of, 0);
        if (bytes > 0) found.set(member.name, bytes);
      }),
    ),
  );
  return found;
}

async function presentBase(ports: Pick<Ports, 'bases'>, ref: BaseRef): Promise<BaseImage> {
  return (await ports.bases.get(ref)) ?? missing(ref);
}

function missing(ref: BaseRef): never {
  throw new CowherdError('BASE_CHANGED', `Base image ${formatBaseRef(ref)} is no longer in the store`, {
    hint: `Import the file with sha256 ${ref.digest} again: cowherd base add FILE --name ${ref.name}`,
  });
}

export interface StoreReport {
  fleets: FleetReport[];
  total: Savings & { bases: number; baseBytes: number };
  /** Fleets whose report failed, and why. */
  failed: Array<{ fleet: string; error: ErrorReport }>;
  disk: DiskReport;
}

/** The file system that holds the store. */
export interface DiskReport extends DiskSpace {
  path: string;
}

export async function reportDisk({ machine, fleets }: Pick<Ports, 'machine' | 'fleets'>): Promise<DiskReport> {
  return { path: fleets.root, ...(await machine.diskSpace(fleets.root)) };
}

/** One fleet. @throws if its report fails */
export async function reportOne(ports: Ports, fleet: string): Promise<StoreReport> {
  const fleets = [await report(ports, fleet)];
  return { fleets, total: totalSavings(fleets), failed: [], disk: await reportDisk(ports) };
}

/** All fleets, or the named ones. A shared base image is counted once. */
export async function reportAll(ports: Ports, fleets?: readonly string[]): Promise<StoreReport> {
  const reports: FleetReport[] = [];
  const failed: StoreReport['failed'] = [];
  for (const fleet of fleets ?? (await ports.fleets.list())) {
    try {
      reports.push(await report(ports, fleet));
    } catch (error) {
      failed.push({ fleet, error: reportOf(error) });
    }
  }
  return { fleets: reports, total: totalSavings(reports), failed, disk: await reportDisk(ports) };
}
